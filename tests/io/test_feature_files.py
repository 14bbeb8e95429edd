"""Features in every form: rows and names together, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe.errors import CaffeError, ShapeError
from caffe.io import datum_to_array
from caffe.io.feature_files import FORMS, write_features
from caffe.layers.sources.lmdb_file import LmdbFile
from caffe.proto.caffe_pb2 import Datum

ROWS = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
NAMES = [f"{letter}.png" for letter in "abcd"] + ["\udcff.png"]
NEEDED = {".h5": "h5py", ".hdf5": "h5py", ".parquet": "pyarrow", ".lmdb": "lmdb"}


def write(path: Path) -> Path:
    if path.suffix in NEEDED:
        pytest.importorskip(NEEDED[path.suffix])
    with write_features(path, "pool/x") as put:
        put(NAMES[:3], ROWS[:3])
        put(NAMES[3:], ROWS[3:])
    return path


def names_beside(path: Path) -> list[bytes]:
    return path.with_suffix(".names.txt").read_bytes().splitlines()


def test_npy_is_numpys_with_names_beside(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npy")
    read = np.load(path)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, ROWS)
    np.testing.assert_array_equal(np.load(path, mmap_mode="r"), ROWS)
    assert names_beside(path) == [b"a.png", b"b.png", b"c.png", b"d.png", b"\xff.png"]


def test_hdf5_has_rows_and_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    h5py: Any = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["pool/x"], ROWS)
        assert file["names"][:4].tolist() == [b"a.png", b"b.png", b"c.png", b"d.png"]
    with pytest.raises(CaffeError, match="'names'"), write_features(path, "names"):
        pass


def test_parquet_has_lists_and_the_rows_shape(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(path)
    np.testing.assert_array_equal(table["pool/x"].to_pylist(), ROWS.reshape(5, 6))
    assert table["name"].to_pylist()[:4] == NAMES[:4]
    assert table.schema.metadata[b"shape"] == b"2,3"


def test_lmdb_is_what_the_originals_tool_writes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.lmdb")
    records = list(LmdbFile(str(path / "data.mdb")).records())
    assert [key for key, _ in records] == [b"%010d" % number for number in range(5)]
    for (_, value), row in zip(records, ROWS, strict=True):
        np.testing.assert_array_equal(datum_to_array(Datum.FromString(value)), row[..., None])
    assert len(names_beside(path)) == 5
    with pytest.raises(CaffeError, match="is there already"):
        write(path)


@pytest.mark.parametrize("ending", FORMS)
def test_what_breaks_off_leaves_nothing(tmp_path: Path, ending: str) -> None:
    if ending in NEEDED:
        pytest.importorskip(NEEDED[ending])

    def interrupted() -> None:
        with write_features(tmp_path / f"a{ending}", "x") as put:
            put(NAMES[:3], ROWS[:3])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".npy", ".h5", ".parquet"])
def test_of_no_pictures_there_is_a_file_without_rows(tmp_path: Path, ending: str) -> None:
    if ending in NEEDED:
        pytest.importorskip(NEEDED[ending])
    with write_features(tmp_path / f"a{ending}", "x"):
        pass
    if ending == ".npy":
        assert len(np.load(tmp_path / "a.npy")) == 0


def test_rows_of_other_shapes_and_names_of_no_form_are_refused(tmp_path: Path) -> None:
    with write_features(tmp_path / "a.npy", "x") as put:
        put(NAMES[:1], ROWS[:1])
        with pytest.raises(ShapeError, match=r"'x' is of shape \(3,\) .* of \(2, 3\)"):
            put(NAMES[:1], ROWS[0, :1])
    with pytest.raises(CaffeError, match=r"end in \.npy"), write_features("a.txt", "x"):
        pass
