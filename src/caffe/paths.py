"""What names a file."""

from __future__ import annotations

import os

from typing_extensions import TypeIs

from .errors import ArgumentError

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A path as text or bytes, or an object that stands for one."""


def is_path(value: object) -> TypeIs[PathLike]:
    """Tell whether this is a path, be there a file or not."""
    return isinstance(value, (str, bytes, os.PathLike))


def path_text(path: PathLike) -> str:
    """Return a path as text.

    Raises
    ------
    ArgumentError
        It is none.
    """
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise ArgumentError(f"a file's path is wanted, not {path!r:.60}") from error
