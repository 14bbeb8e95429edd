"""Files of what a blob holds for many pictures, with the pictures' names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_write
from ..errors import CaffeError, ShapeError, require
from ..paths import PathLike
from ..weights.hdf5 import written
from .arrays import array_to_datum
from .database_writer import LMDB, write_database

NPY, HDF5, PARQUET = "npy", "hdf5", "parquet"
FORMS = {".npy": NPY, ".h5": HDF5, ".hdf5": HDF5, ".parquet": PARQUET, ".lmdb": LMDB}
"""By the ending of a file's name, its form."""
NAMES = "names"
"""What holds the pictures' names: an HDF5 data set, the end of a text file's name."""

Rows = NDArray[np.float32]
Put = Callable[[Sequence[str], Rows], None]
"""Takes some pictures' names, and a row for each."""


def form_of(path: PathLike) -> str:
    """Return the form that the end of a file's name says.

    Raises
    ------
    CaffeError
        It says none.
    MissingExtraError
        What writes it is not installed.
    """
    name = os.fsdecode(path)
    form = FORMS.get(os.path.splitext(name)[1].lower())
    if form is None:
        raise CaffeError(f"{name}: features are written to files that end in {', '.join(FORMS)}")
    if form == HDF5:
        require("h5py", "hdf5", "features in HDF5")
    elif form == PARQUET:
        require("pyarrow", "parquet", "a Parquet file")
    elif form == LMDB:
        require("lmdb", "lmdb", "writing an LMDB")
    return form


@contextmanager
def write_features(path: PathLike, blob: str) -> Iterator[Put]:
    """Write features as they come; what is written takes its name when all went well.

    Parameters
    ----------
    path : path-like
        The file, whose name says its form. Rows stand in the order in which they come.

        .npy
            One array of N rows, float32; the names, one a line, stand in a text file beside it that
            ends in .names.txt.
        .h5, .hdf5
            A data set of the blob's name, N rows of float32, and one of their "names".
        .parquet
            Columns "name" and the blob's, lists of float32; the shape of a row stands in the
            file's metadata as "shape".
        .lmdb
            A Datum of floats for each picture with the row's number as its key, as the original's
            extract_features writes them; the names as for .npy.
    blob : str
        The blob's name.

    Yields
    ------
    put : callable
        See `Put`.

    Raises
    ------
    CaffeError
        The name says no form, or there is such an LMDB already.
    WriteError
        The operating system refuses.
    """
    form, name = form_of(path), os.fsdecode(path)
    if form == HDF5 and blob == NAMES:
        raise CaffeError(f"{name}: a blob of the name '{NAMES}' has no place beside the names")
    writer = {NPY: _npy, HDF5: _hdf5, PARQUET: _parquet, LMDB: _lmdb}[form]
    with ExitStack() as stack:
        put_rows = stack.enter_context(writer(name, blob))
        names = None
        if form in (NPY, LMDB):
            names = stack.enter_context(atomic_write(f"{os.path.splitext(name)[0]}.names.txt"))
        shape: tuple[int, ...] | None = None

        def put(pictures: Sequence[str], rows: Rows) -> None:
            nonlocal shape
            if shape not in (None, rows.shape[1:]):
                raise ShapeError(
                    f"the blob '{blob}' is of shape {rows.shape[1:]} for some pictures and of "
                    f"{shape} for others; a file has rows of one shape"
                )
            shape = rows.shape[1:]
            put_rows(pictures, np.ascontiguousarray(rows, np.float32))
            if names is not None:
                # A name is a line.
                lines = (picture.replace("\n", "\\n") for picture in pictures)
                names.write(b"".join(os.fsencode(line) + b"\n" for line in lines))

        yield put


@contextmanager
def _npy(path: str, blob: str) -> Iterator[Put]:
    with atomic_write(path) as stream:
        count = 0
        shape: tuple[int, ...] = (0,)
        ahead = 0

        def begin() -> int:
            # NumPy leaves room for the first number to grow.
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)}
            np.lib.format.write_array_header_1_0(stream, header)
            return int(stream.tell())

        def put(pictures: Sequence[str], rows: Rows) -> None:
            nonlocal count, shape, ahead
            if not ahead:
                shape = rows.shape[1:]
                ahead = begin()
            stream.write(rows.astype("<f4", copy=False).tobytes())
            count += len(rows)

        yield put
        stream.seek(0)
        if begin() != ahead and ahead:
            raise CaffeError(f"{path}: the header of {count} rows has another length")


@contextmanager
def _hdf5(path: str, blob: str) -> Iterator[Put]:
    h5py = require("h5py", "hdf5", "features in HDF5")
    with written(h5py, path) as file:
        names = file.create_dataset(NAMES, (0,), h5py.string_dtype(), maxshape=(None,))

        def put(pictures: Sequence[str], rows: Rows) -> None:
            append(file, blob, rows)
            first = len(names)
            names.resize(first + len(pictures), axis=0)
            names[first:] = [os.fsencode(picture) for picture in pictures]

        yield put


def append(file: Any, name: str, rows: Rows) -> None:
    """Put rows behind those of an HDF5 file's data set, which is made where it is not there."""
    if name not in file:
        shape = (None, *rows.shape[1:])
        file.create_dataset(name, data=rows, maxshape=shape, chunks=True)
        return
    dataset = file[name]
    first = len(dataset)
    dataset.resize(first + len(rows), axis=0)
    dataset[first:] = rows


@contextmanager
def _parquet(path: str, blob: str) -> Iterator[Put]:
    arrow = require("pyarrow", "parquet", "a Parquet file")
    parquet = require("pyarrow.parquet", "parquet", "a Parquet file")
    with ExitStack() as stack:
        stream = stack.enter_context(atomic_write(path))
        writer: Any = None
        schema: Any = None

        def begin(shape: tuple[int, ...]) -> None:
            nonlocal writer, schema
            kind = arrow.list_(arrow.float32(), int(np.prod(shape)))
            told = {"shape": ",".join(map(str, shape)), "blob": blob}
            schema = arrow.schema([("name", arrow.string()), (blob, kind)], metadata=told)
            writer = stack.enter_context(parquet.ParquetWriter(stream, schema))

        def put(pictures: Sequence[str], rows: Rows) -> None:
            if writer is None:
                begin(rows.shape[1:])
            flat = arrow.array(rows.reshape(-1), arrow.float32())
            lists = arrow.FixedSizeListArray.from_arrays(flat, int(np.prod(rows.shape[1:])))
            texts = [os.fsencode(picture).decode("utf-8", "replace") for picture in pictures]
            writer.write_table(arrow.table([arrow.array(texts), lists], schema=schema))

        yield put
        if writer is None:
            begin((0,))


@contextmanager
def _lmdb(path: str, blob: str) -> Iterator[Put]:
    with write_database(path, LMDB) as store:
        count = 0

        def put(pictures: Sequence[str], rows: Rows) -> None:
            nonlocal count
            for row in rows:
                store.put(b"%010d" % count, datum_of(row))
                count += 1

        yield put


def datum_of(row: NDArray[Any]) -> bytes:
    """Return one picture's values as a Datum of floats, as the original's tool writes it."""
    values = np.asarray(row, np.float32)
    # A Datum has three axes, as the original's blobs count them.
    shape = (*values.shape, 1, 1, 1)[:3] if values.ndim <= 3 else (values.size, 1, 1)
    return bytes(array_to_datum(values.reshape(shape)).SerializeToString())
