"""A file's bytes, and what they look like when they are not what was expected."""

from __future__ import annotations

import mmap

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


def map_bytes(path: PathLike) -> mmap.mmap | bytes:
    """A file's content, mapped where that is possible; it is read as it is looked at.

    Raises
    ------
    MissingFileError
        There is no such file.
    ParseError
        It is a folder or empty, or it may not be read.
    """
    source = path_text(path)
    try:
        with open(source, "rb") as stream:
            try:
                data: mmap.mmap | bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):
                data = stream.read()
    except IsADirectoryError:
        raise ParseError("this is a folder, not a file", source) from None
    except FileNotFoundError:
        raise MissingFileError("there is no such file", source) from None
    except (OSError, ValueError) as error:
        raise ParseError(f"the file cannot be read: {error}", source) from error
    if not len(data):
        raise ParseError("the file is empty", source)
    return data


def read_bytes(path: PathLike) -> bytes:
    """A file's whole content; raises as `map_bytes` does."""
    return bytes(map_bytes(path))


def is_text(data: mmap.mmap | bytes) -> bool:
    """Whether the first bytes hold no control characters, as those of any binary format do."""
    head = data[:HEAD]
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or len(head) == len(
        head.translate(None, _CONTROL)
    )


def describe(data: mmap.mmap | bytes) -> str:
    """What the content looks like, to be read after "this is"."""
    head = data[:HEAD]
    for signature, description in _SIGNATURES.items():
        if head.startswith(signature):
            return description
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:9].lower().startswith(_MARKUP):
        return "a web page (a download that failed?)"
    return "a text file" if is_text(data) else BINARY
