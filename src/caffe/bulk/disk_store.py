"""A store in a folder of a disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import IO

from ..atomic import atomic_write, create_file
from ..errors import FetchError, MissingFileError, WriteError
from .stores import Stored


class DiskStore:
    """A folder, which is made when something is put into it.

    Parameters
    ----------
    place : str
        Its path.
    """

    def __init__(self, place: str) -> None:
        self.place = place or "."

    def read(self, name: str) -> bytes:
        with self.open(name) as stream:
            return stream.read()

    def read_range(self, name: str, start: int, length: int) -> bytes:
        with self.open(name) as stream:
            stream.seek(start)
            return stream.read(length)

    def open(self, name: str) -> IO[bytes]:
        path = self._path(name)
        try:
            # Opening a pipe or a device could wait for ever.
            if os.path.exists(path) and not os.path.isfile(path):
                raise FetchError(f"{path}: not a regular file")
            return open(path, "rb")
        except FileNotFoundError as error:
            raise MissingFileError("no such file", path) from error
        except OSError as error:
            raise FetchError(f"{path}: cannot be read: {error.strerror}") from error

    def head(self, name: str) -> Stored:
        path = self._path(name)
        try:
            found = os.stat(path)
        except FileNotFoundError as error:
            raise MissingFileError("no such file", path) from error
        except OSError as error:
            raise FetchError(f"{path}: cannot be read: {error.strerror}") from error
        return Stored(name, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}")

    def create(self, name: str, content: bytes) -> bool:
        return create_file(self._with_folder(name), content)

    def replace(self, name: str, content: bytes | IO[bytes]) -> None:
        with atomic_write(self._with_folder(name)) as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                shutil.copyfileobj(content, stream)

    def names(self, folder: str) -> Iterator[str]:
        try:
            with os.scandir(self._path(folder)) as found:
                for entry in found:
                    yield entry.name
        except FileNotFoundError:
            return
        except OSError as error:
            raise FetchError(f"{self._path(folder)}: cannot be read: {error.strerror}") from error

    def _path(self, name: str) -> str:
        return os.path.join(self.place, *name.split("/")) if name else self.place

    def _with_folder(self, name: str) -> str:
        path = self._path(name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except OSError as error:
            raise WriteError(path, error) from error
        return path
