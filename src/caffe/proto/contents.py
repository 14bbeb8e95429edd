"""A file's bytes, and what they look like when they are not what was expected."""

from __future__ import annotations

import mmap
import os
import stat
import weakref
from io import StringIO
from typing import BinaryIO

from ..errors import MissingFileError, ParseError
from ..paths import PathLike, path_text

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# How much of a file is looked at to tell text from binary.
HEAD = 65536
BINARY = "binary data of another kind"
_CONTROL = bytes({*range(9), *range(14, 32), 127})
_SIGNATURES = {
    HDF5_SIGNATURE: "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer (get the real file with: git lfs pull)",
    b"PK\x03\x04": "a zip archive (unpack it first)",
    b"\x1f\x8b": "a gzip archive (unpack it first)",
    b"BZh": "a bzip2 archive (unpack it first)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive (unpack it first)",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x93NUMPY": "a numpy .npy file",
}
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")


# Up to how many bytes a file is read at once, and how many are read ahead of a larger one.
SMALL, _WINDOW = 1 << 20, 1 << 14
MOST_STREAMED = 1 << 30
"""The most bytes that are taken from a pipe or a device."""


class FileBytes:
    """The bytes of a large file, copied as they are asked for.

    Not mapped: whoever looks at a mapping of a file that another program cuts off is killed.

    Parameters
    ----------
    path : str
        The file.
    handle : int
        It, open for reading; becomes this object's own.
    """

    def __init__(self, path: str, handle: int) -> None:
        self._path = path
        self._handle = handle
        weakref.finalize(self, os.close, handle)
        self._state = _state_of(handle)
        self._window = 0, b""

    def __len__(self) -> int:
        return self._state[0]

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        stop = max(start, stop)
        if stop - start > _WINDOW:
            return self._read(start, stop - start)
        begin, window = self._window
        if not begin <= start <= stop <= begin + len(window):
            ahead = self._read(start, min(_WINDOW, len(self) - start))
            begin, window = self._window = start, ahead
        return window[start - begin : stop - begin]

    def read_into(self, start: int, target: bytearray | mmap.mmap) -> None:
        """Fill `target` with the bytes that begin at `start`.

        Raises
        ------
        ParseError
            The file was changed since it was opened, or cannot be read.
        """
        rest = memoryview(target)
        try:
            while rest:
                count = os.preadv(self._handle, [rest], start)
                if not count:
                    break
                start, rest = start + count, rest[count:]
        except OSError as error:
            raise ParseError(f"the file cannot be read: {error.strerror}", self._path) from error
        if rest or _state_of(self._handle) != self._state:
            raise _changed(self._path)

    def _read(self, start: int, size: int) -> bytes:
        content = bytearray(size)
        self.read_into(start, content)
        return bytes(content)


Content = FileBytes | bytes
"""A file's bytes, of which parts can be taken."""


def open_bytes(path: PathLike) -> Content:
    """A file's content; of a large one what is looked at.

    Raises
    ------
    MissingFileError
        There is no such file.
    ParseError
        It is a folder or empty, or it may not be read, or has no end.
    """
    source = path_text(path)
    try:
        with open(source, "rb") as stream:
            data = _content(source, stream)
    except IsADirectoryError:
        raise ParseError("this is a folder, not a file", source) from None
    except FileNotFoundError:
        raise MissingFileError("there is no such file", source) from None
    except (OSError, ValueError) as error:
        raise ParseError(f"the file cannot be read: {error}", source) from error
    if not len(data):
        raise ParseError("the file is empty", source)
    return data


def open_lines(path: PathLike, errors: str = "strict", newline: str | None = None) -> StringIO:
    """Open a list or a log, which others may still write, as `open` does a text in UTF-8.

    Raises
    ------
    OSError, UnicodeDecodeError
        It cannot be read: the caller knows what was expected.
    ParseError
        It has no end.
    """
    source = path_text(path)
    with open(source, "rb") as stream:
        data = _all(source, stream)
    return StringIO(data.decode("utf-8", errors), newline)


def _content(source: str, stream: BinaryIO) -> Content:
    state = _state_of(stream.fileno())
    if _is_file(stream) and state[0] > SMALL and hasattr(os, "preadv"):
        return FileBytes(source, os.dup(stream.fileno()))
    data = _all(source, stream)
    if _is_file(stream) and _state_of(stream.fileno()) != state:
        raise _changed(source)
    return data


def _all(source: str, stream: BinaryIO) -> bytes:
    if _is_file(stream):
        return stream.read()
    data = stream.read(MOST_STREAMED + 1)
    if len(data) > MOST_STREAMED:
        raise ParseError(f"more than {MOST_STREAMED} bytes come out of this", source)
    return data


def _is_file(stream: BinaryIO) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def _state_of(handle: int) -> tuple[int, int]:
    """What is another when a file was written: its size and its time."""
    now = os.fstat(handle)
    return now.st_size, now.st_mtime_ns


def _changed(source: str) -> ParseError:
    return ParseError("the file was changed while it was read", source)


def read_bytes(path: PathLike) -> bytes:
    """A file's whole content; raises as `open_bytes` does."""
    return open_bytes(path)[:]


def is_text(data: Content) -> bool:
    """Whether the first bytes hold no control characters, as those of any binary format do."""
    head = data[:HEAD]
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or len(head) == len(
        head.translate(None, _CONTROL)
    )


def describe(data: Content) -> str:
    """What the content looks like, to be read after "this is"."""
    head = data[:HEAD]
    for signature, description in _SIGNATURES.items():
        if head.startswith(signature):
            return description
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:9].lower().startswith(_MARKUP):
        return "a web page (a download that failed?)"
    return "a text file" if is_text(data) else BINARY
