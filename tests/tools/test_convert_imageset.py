"""`convert_imageset`: Datums as the original writes them, whole databases or none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.layers.sources.bgr_pictures import read_picture, resize_picture
from caffe.layers.sources.databases import open_database
from caffe.proto.caffe_pb2 import DataParameter, Datum
from caffe.tools.convert_imageset import convert_imageset
from tests.helpers.command import tool
from tests.helpers.sources import picture, save_picture, source

LABELS = {"b.png": 7, "sub dir/a.jpg": -1, "c.png": 30}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub dir").mkdir()
    for name in LABELS:
        save_picture(tmp_path / name, picture(6, 9))
    (tmp_path / "list.txt").write_text("".join(f"{n} {label}\n" for n, label in LABELS.items()))
    return tmp_path


def records(path: Path, backend: int = DataParameter.LMDB) -> dict[bytes, Datum]:
    entries = open_database(str(path), backend).entries()
    return {key: Datum.FromString(value) for key, value in entries}


def convert(root: Path, *options: str, expected: int = 0) -> Path:
    result = tool(convert_imageset, *options, f"{root}/", root / "list.txt", root / "db")
    assert result.exit_code == expected, result.stderr
    assert not list(root.glob(".recaffe-*")), "nothing half-written stays"
    return root / "db"


def test_keys_and_datums_are_the_original_s(root: Path) -> None:
    found = records(convert(root))
    assert list(found) == [b"00000000_b.png", b"00000001_sub dir/a.jpg", b"00000002_c.png"]
    for (name, label), datum in zip(LABELS.items(), found.values(), strict=True):
        bgr = read_picture(root / name)
        assert (datum.channels, datum.height, datum.width) == (3, 6, 9)
        assert (datum.label, datum.encoded, datum.data) == (label, False, bgr.tobytes())
        # Said although it is the default, so that the bytes are the original's.
        assert datum.HasField("encoded")


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_a_data_layer_reads_what_was_written(root: Path, backend: str) -> None:
    if backend == "leveldb":
        pytest.importorskip("plyvel")
    path = convert(root, f"-backend={backend}", "-resize_height=4", "--resize_width", "5")
    net = source(
        f'type: "Data" data_param {{ source: "{path}" batch_size: 3 backend: {backend.upper()} }}'
    )
    out = net.forward()
    assert out["label"].tolist() == list(LABELS.values())
    expected = [resize_picture(read_picture(root / name), 4, 5) for name in LABELS]
    assert np.array_equal(out["data"], np.stack(expected))


def test_liblmdb_reads_it_too(root: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(convert(root)), readonly=True) as environment, environment.begin() as txn:
        assert txn.stat()["entries"] == 3
        assert Datum.FromString(txn.get(b"00000002_c.png")).label == 30


def test_in_grey_there_is_one_channel(root: Path) -> None:
    for name, datum in zip(LABELS, records(convert(root, "-gray")).values(), strict=True):
        assert (
            caffe.io.datum_to_array(datum).tobytes() == read_picture(root / name, False).tobytes()
        )


def test_encoded_pictures_are_the_files_unless_they_are_resized(root: Path) -> None:
    for name, datum in zip(LABELS, records(convert(root, "-encoded")).values(), strict=True):
        assert datum.encoded
        assert datum.data == (root / name).read_bytes()
        assert not datum.HasField("channels")


def test_encoded_in_another_format(root: Path) -> None:
    found = records(convert(root, "-encode_type=png", "-resize_height=3", "-resize_width=3"))
    for name, datum in zip(LABELS, found.values(), strict=True):
        with Image.open(io.BytesIO(datum.data)) as image:
            assert image.format == "PNG"
            rgb = np.asarray(image)
        assert np.array_equal(
            rgb[:, :, ::-1].transpose(2, 0, 1), resize_picture(read_picture(root / name), 3, 3)
        )


def test_encoded_pictures_of_one_size_pass_the_check(root: Path) -> None:
    assert len(records(convert(root, "-check_size", "-encoded"))) == len(LABELS)


def test_shuffled_are_all_there(root: Path) -> None:
    found = records(convert(root, "-shuffle"))
    assert sorted(key.partition(b"_")[2].decode() for key in found) == sorted(LABELS)
    assert {key.partition(b"_")[2].decode(): d.label for key, d in found.items()} == LABELS


def test_what_cannot_be_read_is_left_out_and_told(root: Path) -> None:
    (root / "b.png").write_bytes(b"no picture")
    result = tool(convert_imageset, f"{root}/", root / "list.txt", root / "db")
    assert result.exit_code == 0
    assert "b.png" in result.stderr
    assert "Processed 2 files." in result.stderr
    # The others keep the numbers of their lines.
    assert list(records(root / "db")) == [b"00000001_sub dir/a.jpg", b"00000002_c.png"]


def test_what_fails_leaves_nothing_behind(root: Path) -> None:
    save_picture(root / "c.png", picture(5, 5))
    convert(root, "-check_size", expected=1)
    convert(root, "-check_size", "-encoded", expected=1)
    convert(root, "-backend=sqlite", expected=1)
    convert(root, "-encode_type=docx", expected=1)
    assert not (root / "db").exists()
    (root / "list.txt").write_text("")
    convert(root, expected=1)
    assert not (root / "db").exists()


def test_what_is_there_is_not_overwritten(root: Path) -> None:
    before = (convert(root) / "data.mdb").read_bytes()
    convert(root, expected=1)
    assert (root / "db" / "data.mdb").read_bytes() == before


def test_ctrl_c_leaves_nothing_behind(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caffe.io.database_writer._Lmdb.put", interrupted)
    convert(root, expected=130)
    assert not (root / "db").exists()
