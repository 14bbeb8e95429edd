"""Writing the key-value stores that Caffe's tools make: LMDB and LevelDB, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import CaffeError, WriteError, require
from ..paths import PathLike, path_text

LMDB, LEVELDB = BACKENDS = ("lmdb", "leveldb")
RECORDS_AT_ONCE = 1000
FIRST_SIZE = 1 << 28
"""Bytes of an LMDB before it is made larger; the file itself only has what is used."""


class DatabaseWriter:
    """A store that is being written; `write_database` makes them."""

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record; of two with the same key the later one stays."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what is left."""

    def close(self) -> None:
        """Let go of it, whether it is finished or not."""
        raise NotImplementedError


class _Lmdb(DatabaseWriter):
    def __init__(self, path: str) -> None:
        self._lmdb = require("lmdb", "lmdb", "writing an LMDB")
        self._size = FIRST_SIZE
        # It has no name until all is there, so that nothing need be flushed before.
        self._environment = self._lmdb.open(path, map_size=self._size, sync=False)
        self._records: list[tuple[bytes, bytes]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self._records.append((key, value))
        if len(self._records) == RECORDS_AT_ONCE:
            self._commit()

    def finish(self) -> None:
        self._commit()
        self._environment.sync(True)

    def close(self) -> None:
        self._environment.close()

    def _commit(self) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._records:
                        transaction.put(key, value)
                break
            except self._lmdb.MapFullError:
                self._size *= 2
                self._environment.set_mapsize(self._size)
        self._records.clear()


class _LevelDb(DatabaseWriter):
    def __init__(self, path: str) -> None:
        plyvel = require("plyvel", "leveldb", "writing a LevelDB")
        self._database: Any = plyvel.DB(path, create_if_missing=True, error_if_exists=True)

    def put(self, key: bytes, value: bytes) -> None:
        self._database.put(key, value)

    def close(self) -> None:
        self._database.close()


@contextmanager
def write_database(path: PathLike, backend: str) -> Iterator[DatabaseWriter]:
    """Write a store that takes its name only when all went well.

    Parameters
    ----------
    path : path-like
        The store's folder, which must not be there yet.
    backend : {"lmdb", "leveldb"}
        The kind.

    Raises
    ------
    CaffeError
        There is something of that name, or no such kind.
    WriteError
        The operating system refuses.
    MissingExtraError
        The package for this kind is not installed.
    """
    name = path_text(path).rstrip(os.sep)
    if backend not in BACKENDS:
        raise CaffeError(f"there is no kind of database '{backend}'; there are lmdb and leveldb")
    if os.path.lexists(name):
        raise CaffeError(f"{name} is there already; remove it, or name another place")
    draft = os.path.join(os.path.dirname(name) or ".", f".recaffe-{secrets.token_hex(8)}.part")
    try:
        os.mkdir(draft)
        try:
            writer = _Lmdb(draft) if backend == LMDB else _LevelDb(os.path.join(draft, "db"))
            try:
                yield writer
                writer.finish()
            finally:
                writer.close()
            os.rename(draft if backend == LMDB else os.path.join(draft, "db"), name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        if isinstance(error, CaffeError) or error.errno is None:
            raise
        raise WriteError(name, error) from error
