"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from .errors import CaffeError, WriteError


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its name only when all went well.

    An exception or Ctrl-C inside the block removes the temporary file and leaves whatever
    stood at `path` untouched.

    Parameters
    ----------
    path : path-like
        The file to write.
    mode : {"wb", "w"}
        Binary, or UTF-8 text.

    Raises
    ------
    WriteError
        The operating system refuses; the text names `path`, not the temporary file.
    """
    try:
        with _temporary(path, mode) as stream:
            yield stream
    except OSError as error:
        if isinstance(error, CaffeError) or error.errno is None:
            raise
        raise WriteError(path, error) from error


@contextmanager
def _temporary(path: str | os.PathLike[str], mode: str) -> Iterator[IO[Any]]:
    target = os.path.realpath(path)
    handle, temporary = tempfile.mkstemp(
        dir=os.path.dirname(target), prefix=f".{os.path.basename(target)}.", suffix=".part"
    )
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
        # mkstemp makes files private; a plain open() would have followed the umask.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
