"""NumPy's .npy form, read without evaluating what stands in its header.

NumPy's own reader takes the header for Python, and raises whatever Python's tokenizer, parser and
number types raise on a damaged one.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"
MOST_HEADER = 1 << 16
"""The most bytes of a header that are read."""
MOST_AXES = 32

# The keys may stand in any order; Python 2 wrote its long numbers with an L.
_EXTENT = re.compile(rb"(\d{1,9})L?")
_ENTRY = re.compile(
    rb"""\s*(?:
    'descr':\s*'(?P<type>[<>|=][biuf]\d{1,2})'
    |'fortran_order':\s*(?P<fortran>True|False)
    |'shape':\s*\((?P<shape>[^()]*)\)
    )\s*""",
    re.VERBOSE,
)


class NpyError(ValueError):
    """The content is no array of numbers in .npy form; the text says why."""


def parse_npy(content: bytes) -> NDArray[Any]:
    """Return the array of numbers that is the content; a read-only view of it.

    Raises
    ------
    NpyError
        The content is damaged, or holds something else than an array of numbers.
    """
    if not content.startswith(MAGIC) or content[6:7] not in (b"\x01", b"\x02", b"\x03"):
        raise NpyError("it does not begin like one")
    width = 2 if content[6] == 1 else 4
    start = 8 + width
    end = start + int.from_bytes(content[8:start], "little")
    if end > len(content) or end - start > MOST_HEADER:
        raise NpyError("its header is longer than it is, or than any")
    dtype, fortran, shape = _header(content[start:end])
    count = math.prod(shape)
    if len(content) - end < count * dtype.itemsize:
        raise NpyError(f"its shape {shape} needs more than the {len(content) - end} bytes there")
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer(content, dtype, count, end).reshape(shape, order="F" if fortran else "C")


def _header(text: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    text = text.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        raise NpyError("its header has no braces")
    found: dict[str, bytes] = {}
    at, end = 1, len(text) - 1
    while at < end:
        entry = _ENTRY.match(text, at, end)
        if entry is None:
            raise NpyError(f"its header says {text[at : at + 60]!r}, which is no array of numbers")
        at = entry.end()
        found.update({key: value for key, value in entry.groupdict().items() if value is not None})
        if at < end:
            if text[at : at + 1] != b",":
                raise NpyError(f"a comma is missing in its header at byte {at}")
            at += 1
            if not text[at:end].strip():
                break
    if len(found) != 3:
        raise NpyError("its header does not give type, order and shape")
    try:
        dtype = np.dtype(found["type"].decode())
    except TypeError as error:
        raise NpyError(str(error)) from error
    return dtype, found["fortran"] == b"True", _shape(found["shape"])


def _shape(text: bytes) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(b",")]
    # What is written behind the last comma, or in the brackets of no axes, is nothing.
    if not parts[-1]:
        del parts[-1]
    found = [_EXTENT.fullmatch(part) for part in parts[: MOST_AXES + 1]]
    shape = tuple(int(extent[1]) for extent in found if extent)
    # Even of an array of nothing NumPy wants the other extents to make a number.
    if not len(shape) == len(parts) <= MOST_AXES or math.prod(filter(None, shape)) >= 2**48:
        raise NpyError(f"its shape ({text[:60].decode('latin-1')}) is impossible")
    return shape
