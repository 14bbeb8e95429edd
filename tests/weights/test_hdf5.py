"""HDF5 weight files in Caffe's layout."""

from __future__ import annotations

import contextlib
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe.errors import CaffeError, MissingExtraError, ParseError
from caffe.weights.files import read_weights, write_weights_hdf5

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

LAYERS = [
    ("conv/1", [np.arange(6, dtype=np.float32).reshape(2, 3), None, np.ones(2, np.float32)]),
    ("relu", []),
]


def test_layout_is_caffes(tmp_path: Path) -> None:
    write_weights_hdf5(tmp_path / "w.h5", LAYERS)
    with h5py.File(tmp_path / "w.h5") as file:
        assert list(file) == ["data"]
        assert set(file["data/conv/1"]) == {"0", "2"}
        assert list(file["data/relu"]) == []
        assert file["data/conv/1/0"].dtype == "<f4"
        np.testing.assert_array_equal(file["data/conv/1/0"], LAYERS[0][1][0])


def test_what_is_written_is_read_whatever_its_name(tmp_path: Path) -> None:
    diffs = [("conv/1", [np.full((2, 3), 9), np.full(4, 8), np.full(2, 7)])]
    write_weights_hdf5(tmp_path / "w.caffemodel", LAYERS, diffs)
    conv, relu = read_weights(tmp_path / "w.caffemodel")
    assert (conv.name, conv.type, relu.name, relu.blobs) == ("conv/1", "", "relu", [])
    first, shared_blob, last = conv.blobs
    assert shared_blob is None
    assert first is not None
    assert last is not None
    assert (first.shape, first.legacy) == ((2, 3), False)
    np.testing.assert_array_equal(first.data, np.arange(6))
    np.testing.assert_array_equal(first.diff, np.full(6, 9))
    np.testing.assert_array_equal(last.data, [1, 1])


def test_published_weights(shared: Path) -> None:
    path = shared / "models/cifar10_quick_h5/cifar10_quick_iter_5000.caffemodel.h5"
    layers = {layer.name: layer.blobs for layer in read_weights(path)}
    with h5py.File(path) as file:
        assert set(layers) == set(file["data"])
        for name, blobs in layers.items():
            assert len(blobs) == len(file["data"][name])
            for index, blob in enumerate(blobs):
                theirs = file["data"][name][str(index)]
                assert blob is not None
                assert blob.shape == theirs.shape
                np.testing.assert_array_equal(blob.data, np.ravel(theirs))
    with pytest.raises(ParseError, match="solver's state"):
        read_weights(path.with_name("cifar10_quick_iter_5000.solverstate.h5"))


def test_data_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/ip/0"] = "text"
    with pytest.raises(ParseError, match="layer 'ip', blob 0"):
        read_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["data/ip"] = h5py.ExternalLink("/etc/passwd", "/")
        file["label"] = [1]
    assert read_weights(tmp_path / "w.h5") == []


def test_groups_in_a_circle_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("data/a")
        group["again"] = group
    with pytest.raises(ParseError, match="no end"):
        read_weights(tmp_path / "w.h5")


def test_more_than_the_file_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        for i in range(60):
            file.create_dataset(f"data/ip/{i}", (1_000_000,), "f4", chunks=(1000,))
    with pytest.raises(
        ParseError, match=r"blob \d+: the shape \(1000000,\) is more than a file of"
    ):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("data/ip/0", (2,), "f4", chunks=(1 << 28,), maxshape=(None,))
    with pytest.raises(ParseError, match="is more than a file"):
        read_weights(path)


def test_what_is_compressed_well_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    zeros = np.zeros(5_000_000, "f4")
    with h5py.File(path, "w") as file:
        file.create_dataset("data/ip/0", data=zeros, compression="gzip", compression_opts=9)
    assert path.stat().st_size < zeros.nbytes / 300
    blob = read_weights(path)[0].blobs[0]
    assert blob is not None
    np.testing.assert_array_equal(blob.data, zeros)


def test_values_kept_in_other_files_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    (tmp_path / "secret").write_bytes(b"secret..")
    with h5py.File(path, "w") as file:
        file.create_dataset("data/ip/0", (2,), "f4", external=[(tmp_path / "secret", 0, 8)])
    with pytest.raises(ParseError, match="kept in other files"):
        read_weights(path)


def test_groups_that_are_linked_into_very_many_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caffe.weights.hdf5.MOST_GROUPS", 100)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("data")
        for _ in range(25):
            group["a"] = group["b"] = group.create_group("c")
            group = group["c"]
    with pytest.raises(ParseError, match="have no end"):
        read_weights(tmp_path / "w.h5")


def test_damage_gives_no_other_error(tmp_path: Path) -> None:
    write_weights_hdf5(tmp_path / "good", LAYERS)
    good = (tmp_path / "good").read_bytes()
    chance = random.Random(0)
    path = tmp_path / "bad"
    for step in range(150):
        data = bytearray(good[: chance.randrange(8, len(good))] if step % 2 else good)
        for _ in range(8):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(CaffeError):
            [blob.data for layer in read_weights(path) for blob in layer.blobs if blob]


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_weights_hdf5(tmp_path / "w.h5", LAYERS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"\[hdf5\]"):
        read_weights(tmp_path / "w.h5")
    with pytest.raises(MissingExtraError, match=r"\[hdf5\]"):
        write_weights_hdf5(tmp_path / "new.h5", LAYERS)
    assert not (tmp_path / "new.h5").exists()
