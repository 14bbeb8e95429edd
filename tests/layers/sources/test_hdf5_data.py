"""HDF5Data and HDF5Output."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.helpers.sources import source


def hdf5_net(folder: Path, more: str = "", tops: str = "") -> caffe.Net:
    return source(
        f'type: "HDF5Data" hdf5_data_param {{ source: "{folder}/list.txt" batch_size: 3 {more} }}',
        tops or 'top: "data" top: "label"',
    )


def write_hdf5(folder: Path, *files: dict[str, np.ndarray]) -> None:
    h5py = pytest.importorskip("h5py")
    names = []
    for i, arrays in enumerate(files):
        names.append(f"{folder}/{i}.h5")
        with h5py.File(names[-1], "w") as file:
            for name, array in arrays.items():
                file[name] = array
    (folder / "list.txt").write_text("\n".join(names))


def rows(first: int, count: int) -> dict[str, np.ndarray]:
    labels = np.arange(first, first + count)
    return {"data": labels.reshape(-1, 1, 1) * np.ones((1, 2, 2)), "label": labels}


def test_hdf5_data_goes_through_all_files(tmp_path: Path) -> None:
    write_hdf5(tmp_path, rows(0, 4), rows(4, 1))
    net = hdf5_net(tmp_path)
    seen = []
    for _ in range(5):
        net.forward()
        assert net.blobs["data"].shape == (3, 2, 2)
        seen += net.blobs["label"].data.tolist()
        np.testing.assert_array_equal(net.blobs["data"].data[:, 1, 1], net.blobs["label"].data)
    assert seen == [0, 1, 2, 3, 4] * 3


def test_hdf5_data_shuffles_rows_together(tmp_path: Path) -> None:
    write_hdf5(tmp_path, rows(0, 9))
    net = hdf5_net(tmp_path, "shuffle: true")
    rounds = []
    for _ in range(4):
        seen = []
        for _ in range(3):
            net.forward()
            seen += net.blobs["label"].data.tolist()
            np.testing.assert_array_equal(net.blobs["data"].data[:, 0, 0], seen[-3:])
        assert sorted(seen) == list(range(9))
        rounds.append(tuple(seen))
    assert len(set(rounds)) > 1


def test_hdf5_data_refuses_more_than_the_file_can_hold(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/0.h5")
    with h5py.File(tmp_path / "0.h5", "w") as file:
        file.create_dataset("data", (2_000_000_000,), "f4", chunks=(1 << 20,))
        file["label"] = np.zeros(3)
    with pytest.raises(caffe.ParseError, match=r"'/data': the shape \(2000000000,\) is more than"):
        hdf5_net(tmp_path)


def test_hdf5_data_follows_links_but_reads_no_other_kind_of_file(tmp_path: Path) -> None:
    write_hdf5(tmp_path, rows(0, 3))
    h5py = pytest.importorskip("h5py")
    (tmp_path / "raw").write_bytes(bytes(8))
    (tmp_path / "list.txt").write_text(f"{tmp_path}/links.h5")
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file["data"] = h5py.ExternalLink(f"{tmp_path}/0.h5", "data")
        file["label"] = h5py.ExternalLink(f"{tmp_path}/0.h5", "label")
    net = hdf5_net(tmp_path)
    net.forward()
    assert net.blobs["label"].data.tolist() == [0, 1, 2]
    with h5py.File(tmp_path / "links.h5", "w") as file:
        file.create_dataset("data", (2,), "f4", external=[(tmp_path / "raw", 0, 8)])
        file["label"] = np.zeros(2)
    with pytest.raises(caffe.ParseError, match="kept in other files"):
        hdf5_net(tmp_path)


def test_hdf5_data_damage_gives_no_other_error(tmp_path: Path) -> None:
    write_hdf5(tmp_path, rows(0, 4))
    path = tmp_path / "0.h5"
    good, chance = path.read_bytes(), random.Random(0)
    for step in range(200):
        data = bytearray(good[: chance.randrange(8, len(good))] if step % 4 == 0 else good)
        for _ in range(3):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(caffe.CaffeError):
            hdf5_net(tmp_path)


def test_hdf5_data_names_what_is_missing(tmp_path: Path) -> None:
    write_hdf5(tmp_path, {"data": np.zeros((2, 3))})
    with pytest.raises(caffe.ParseError, match=r"0.h5: there is no data set 'label'.*data"):
        hdf5_net(tmp_path)
    write_hdf5(tmp_path, {"data": np.zeros((2, 3)), "label": np.zeros(4)})
    with pytest.raises(caffe.ParseError, match="2, 4"):
        hdf5_net(tmp_path)
    (tmp_path / "0.h5").write_text("no HDF5")
    with pytest.raises(caffe.ParseError, match=r"0.h5"):
        hdf5_net(tmp_path)
    (tmp_path / "list.txt").write_text("")
    with pytest.raises(caffe.ParseError, match="no HDF5 files"):
        hdf5_net(tmp_path)


def test_hdf5_output_writes_one_batch(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_hdf5(tmp_path, rows(0, 3))
    net = caffe.Net(
        f"""layer {{ name: "in" type: "HDF5Data" top: "data" top: "label"
                     hdf5_data_param {{ source: "{tmp_path}/list.txt" batch_size: 3 }} }}
            layer {{ name: "out" type: "HDF5Output" bottom: "data" bottom: "label"
                     hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}""",
        caffe.TEST,
    )
    net.forward()
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["data"].shape == (3, 2, 2, 1)
        assert file["data"].dtype == np.float32
        assert file["label"][:, 0, 0, 0].tolist() == [0, 1, 2]
    with pytest.raises(caffe.CaffeError, match=r"out.h5 already holds"):
        net.forward()
