"""The key-value stores that the Data layer reads: LMDB and LevelDB."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from typing import ClassVar

from ...errors import MissingFileError, NetError, ParseError, require
from ...processes import in_forked_child
from ...proto.caffe_pb2 import DataParameter
from .lmdb_file import LmdbError, LmdbFile

Entry = tuple[bytes, bytes]


class Database:
    """A store open for reading; `open_database` makes them."""

    kind: ClassVar[str]
    mark: ClassVar[str]
    """The file that every folder of this kind has."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def count(self) -> int | None:
        """How many entries it has; None where only reading all of them would tell."""
        return None

    def entries(self) -> Iterator[Entry]:
        """Yield every key and value once, in the order of the keys.

        Raises
        ------
        ParseError
            The store is damaged.
        """
        raise NotImplementedError


class Lmdb(Database):
    """A folder with a ``data.mdb``, or such a file itself."""

    kind = "an LMDB"
    mark = "data.mdb"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        file = os.path.join(path, self.mark) if os.path.isdir(path) else path
        if not os.path.isfile(file):
            raise ParseError(f"{self.kind} was expected, but there is no file {file}", path)
        try:
            self._file = LmdbFile(file)
        except (LmdbError, OSError) as error:
            raise ParseError(f"{self.kind} was expected: {error}", path) from error

    @property
    def count(self) -> int | None:
        return self._file.count

    def entries(self) -> Iterator[Entry]:
        try:
            yield from self._file.records()
        except (LmdbError, OSError) as error:
            raise ParseError(f"the LMDB cannot be read: {error}", self.path) from error


class LevelDb(Database):
    """A folder with a ``CURRENT`` file."""

    kind = "a LevelDB"
    mark = "CURRENT"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._plyvel = require("plyvel", "leveldb", "Data layers that read LevelDB")
        try:
            self._database = self._plyvel.DB(path, create_if_missing=False)
        except (self._plyvel.Error, OSError) as error:
            raise ParseError(f"{self.kind} was expected: {_reason(error)}", path) from error

    def entries(self) -> Iterator[Entry]:
        try:
            # plyvel's ready iterator takes a table that cannot be opened for the store's end.
            with self._database.raw_iterator(verify_checksums=True) as place:
                place.seek_to_first()
                while place.valid():
                    yield place.item()
                    place.next()
        except (self._plyvel.Error, OSError) as error:
            raise ParseError(f"the LevelDB cannot be read: {_reason(error)}", self.path) from error


def _reason(error: Exception) -> str:
    """What plyvel says, mostly in bytes."""
    told = error.args[0] if error.args else error
    return told.decode("utf-8", "replace") if isinstance(told, bytes) else str(error)


_lock = threading.Lock()
_open: weakref.WeakValueDictionary[tuple[str, str], Database] = weakref.WeakValueDictionary()


@in_forked_child
def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


def _looks_like(path: str, kind: type[Database]) -> bool:
    """Whether a folder has the file without which there is no such store."""
    return os.path.isfile(os.path.join(path, kind.mark))


def open_database(path: str, backend: int) -> Database:
    """Open a store; nets that read the same one share it, as neither kind opens twice.

    Parameters
    ----------
    path : str
        The store's folder.
    backend : DataParameter.DB
        LMDB or LEVELDB.

    Raises
    ------
    NetError
        There is no path.
    ParseError
        There is no such store.
    MissingExtraError
        The package for this kind is not installed.
    """
    kind = Lmdb if backend == DataParameter.LMDB else LevelDb
    if not path:
        raise NetError("data_param.source is missing: it says where the pictures are")
    other = LevelDb if kind is Lmdb else Lmdb
    if not _looks_like(path, kind) and _looks_like(path, other):
        wanted = "LEVELDB" if kind is Lmdb else "LMDB"
        raise ParseError(
            f"{kind.kind} was expected, but this is {other.kind}: say backend: {wanted}", path
        )
    if not os.path.exists(path):
        what = f"{kind.kind} was expected, but there is no such file or folder"
        raise MissingFileError(what, path)
    key = (kind.kind, os.path.realpath(path))
    with _lock:
        database = _open.get(key)
        if database is None:
            database = _open[key] = kind(path)
    return database
