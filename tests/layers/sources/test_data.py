"""Data layers: MemoryData, HDF5, ImageData, Data and WindowData."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.io import array_to_datum
from caffe.layers.sources.databases import LevelDb
from tests.helpers.sources import RANDOM, encoded, picture, source, write_lmdb


def data_net(
    path: Path, transform: str = "", tops: str = "", backend: str = "LMDB", batch: int = 2
) -> caffe.Net:
    return source(
        f'type: "Data" data_param {{ source: "{path}" batch_size: {batch} backend: {backend} }} '
        f"transform_param {{ {transform} }}",
        tops or 'top: "data" top: "label"',
    )


def datums(count: int) -> tuple[list[np.ndarray], dict[bytes, bytes]]:
    pictures = [RANDOM.integers(0, 256, (3, 4, 5), dtype=np.uint8) for _ in range(count)]
    values = {
        f"{i:08d}".encode(): array_to_datum(image, i).SerializeToString()
        for i, image in enumerate(pictures)
    }
    return pictures, values


def check_rounds(net: caffe.Net, pictures: list[np.ndarray]) -> None:
    for first in (0, 2, 1):
        net.forward()
        for i in range(2):
            which = (first + i) % 3
            np.testing.assert_array_equal(net.blobs["data"].data[i], pictures[which])
            assert net.blobs["label"].data[i] == which


def test_data_reads_an_lmdb_round_and_round(tmp_path: Path) -> None:
    pictures, values = datums(3)
    write_lmdb(tmp_path / "db", values)
    net = data_net(tmp_path / "db")
    assert net.blobs["data"].shape == (2, 3, 4, 5)
    check_rounds(net, pictures)
    # A second net on the same store, while the first one reads.
    check_rounds(data_net(tmp_path / "db"), pictures)
    only = data_net(tmp_path / "db", tops='top: "data"', transform="crop_size: 2")
    only.forward()
    np.testing.assert_array_equal(only.blobs["data"].data[0], pictures[0][:, 1:3, 1:3])


def test_data_reads_a_leveldb(tmp_path: Path) -> None:
    plyvel = pytest.importorskip("plyvel")
    pictures, values = datums(3)
    database = plyvel.DB(str(tmp_path / "db"), create_if_missing=True)
    for key, value in values.items():
        database.put(key, value)
    database.close()
    check_rounds(data_net(tmp_path / "db", backend="LEVELDB"), pictures)
    with pytest.raises(caffe.ParseError, match="LevelDB"):
        data_net(tmp_path, backend="LEVELDB")


@pytest.mark.parametrize("damage", ["cut off", "taken away", "zeros"])
def test_no_entry_of_a_damaged_leveldb_is_passed_over(damage: str, tmp_path: Path) -> None:
    plyvel = pytest.importorskip("plyvel")
    keys = [b"%02d" % number for number in range(50)]
    database = plyvel.DB(str(tmp_path / "db"), create_if_missing=True)
    for key in keys:
        database.put(key, np.random.default_rng(int(key)).bytes(100_000))
    # Sorted into tables of 2 MB, of which the later ones are opened when it is their turn.
    database.compact_range()
    database.close()
    opened = LevelDb(str(tmp_path / "db"))
    assert [key for key, _ in opened.entries()] == keys
    last = max((tmp_path / "db").glob("*.ldb"))
    del opened
    opened = LevelDb(str(tmp_path / "db"))
    if damage == "taken away":
        last.unlink()
    else:
        content = last.read_bytes()
        last.write_bytes(content[:20] if damage == "cut off" else bytes(len(content)))
    with pytest.raises(caffe.ParseError, match="the LevelDB cannot be read"):
        list(opened.entries())


def test_data_reads_encoded_and_float_datums(tmp_path: Path) -> None:
    rgb = picture(4, 5)
    png = array_to_datum(np.zeros((1, 1, 1), np.uint8), 7)
    png.encoded, png.data = True, encoded(Image.fromarray(rgb))
    write_lmdb(tmp_path / "png", {b"a": png.SerializeToString()})
    bgr = rgb[:, :, ::-1].transpose(2, 0, 1)
    net = data_net(tmp_path / "png")
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[1], bgr)
    assert data_net(tmp_path / "png", transform="force_gray: true").blobs["data"].channels == 1
    values = RANDOM.normal(size=(2, 1, 3))
    write_lmdb(tmp_path / "float", {b"a": array_to_datum(values, 1).SerializeToString()})
    net = data_net(tmp_path / "float")
    net.forward()
    np.testing.assert_allclose(net.blobs["data"].data[0], values, rtol=1e-6)


def test_data_names_the_damaged_entry(tmp_path: Path) -> None:
    _, values = datums(3)
    for cut, said in ((40, "cut off"), (0, "empty")):
        damaged = {**values, b"00000002": values[b"00000002"][:cut]}
        write_lmdb(tmp_path / str(cut), damaged)
        net = data_net(tmp_path / str(cut))
        net.forward()
        with pytest.raises(caffe.CaffeError, match=f"layer 'in'.*entry '00000002'.*{said}"):
            net.forward()
    short = array_to_datum(np.zeros((3, 4, 5), np.uint8))
    short.data = short.data[:-1]
    write_lmdb(tmp_path / "short", {b"key": short.SerializeToString()})
    with pytest.raises(caffe.CaffeError, match=r"entry 'key'.*59 values"):
        data_net(tmp_path / "short")


def test_data_refuses_what_is_no_store(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "empty", {})
    with pytest.raises(caffe.ParseError, match="it is empty"):
        data_net(tmp_path / "empty")
    with pytest.raises(caffe.ParseError, match="no such file"):
        data_net(tmp_path / "nowhere")
    with pytest.raises(caffe.ParseError, match="an LMDB was expected"):
        data_net(tmp_path)
    (tmp_path / "text").write_text("no store")
    with pytest.raises(caffe.ParseError, match="an LMDB was expected"):
        data_net(tmp_path / "text")
    with pytest.raises(caffe.NetError, match="batch_size"):
        data_net(tmp_path / "empty", batch=0)


def test_data_refuses_an_lmdb_that_is_cut_off(tmp_path: Path) -> None:
    _, values = datums(300)
    write_lmdb(tmp_path / "db", values)
    file = tmp_path / "db" / "data.mdb"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(caffe.ParseError, match="cut off"):
        data_net(tmp_path / "db")


def test_datums_that_are_not_encoded_keep_their_channels_and_say_so(tmp_path: Path) -> None:
    _, values = datums(1)
    write_lmdb(tmp_path / "db", values)
    with pytest.warns(caffe.CaffeWarning, match="force_gray does nothing .*has 3 channels"):
        net = data_net(tmp_path / "db", "force_gray: true")
    assert net.blobs["data"].channels == 3
    data_net(tmp_path / "db", "force_color: true")


def test_another_kind_of_store_is_recognized(tmp_path: Path) -> None:
    plyvel = pytest.importorskip("plyvel")
    _, values = datums(1)
    write_lmdb(tmp_path / "lmdb", values)
    plyvel.DB(str(tmp_path / "leveldb"), create_if_missing=True).close()
    with pytest.raises(caffe.ParseError, match="this is an LMDB: say backend: LMDB"):
        data_net(tmp_path / "lmdb", backend="LEVELDB")
    with pytest.raises(caffe.ParseError, match="this is a LevelDB: say backend: LEVELDB"):
        data_net(tmp_path / "leveldb")
    (tmp_path / "folder").mkdir()
    with pytest.raises(caffe.ParseError, match="a LevelDB was expected: Invalid argument"):
        data_net(tmp_path / "folder", backend="LEVELDB")
    with pytest.raises(caffe.errors.NetError, match="source is missing"):
        source('type: "Data" data_param { batch_size: 1 }')
