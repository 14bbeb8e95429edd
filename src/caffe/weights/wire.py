"""protobuf's wire format, as far as weight files need it: walked over, not parsed.

A message is a sequence of fields: a number, a wire type, and the value's bytes. Walking needs
only the lengths, so the float32 runs of a .caffemodel stay where they are until they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .. import pages
from ..proto.contents import Content

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """The bytes are no protobuf message; the text says why."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a buffer: a whole message, or a value inside one."""

    data: Content
    start: int
    end: int

    def __bytes__(self) -> bytes:
        return self.data[self.start : self.end]

    def __len__(self) -> int:
        return self.end - self.start

    def array(self, dtype: str) -> np.ndarray:
        """The stretch as a flat array: of a small file a view, read-only, else a copy."""
        count = self.count(dtype)
        if not count:
            return np.empty(0, dtype)
        if isinstance(self.data, bytes):
            return np.frombuffer(self.data, dtype, count, self.start)
        memory = pages.allocate(len(self))
        self.data.read_into(self.start, memory)
        return np.frombuffer(memory, dtype)

    def count(self, dtype: str) -> int:
        """How many values of a type the stretch holds."""
        count, rest = divmod(len(self), np.dtype(dtype).itemsize)
        if rest:
            raise WireError(f"{len(self)} bytes at {self.start} are no whole number of {dtype}")
        return count

    def text(self) -> str:
        """The stretch as characters; names that are not UTF-8 are taken for Latin-1."""
        try:
            return bytes(self).decode()
        except UnicodeDecodeError:
            return bytes(self).decode("latin-1")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    `value` spans the value's bytes without their length; `end` is where the field ends in the
    message's buffer.
    """

    number: int
    wire: int
    value: Span
    end: int

    def integer(self) -> int:
        """A varint as a signed number."""
        value = read_varint(self.value.data, self.value.start, self.value.end)[0]
        return value - (1 << 64) if value >> 63 else value


def whole(data: Content) -> Span:
    """All of a buffer."""
    return Span(data, 0, len(data))


def read_varint(data: Content, at: int, end: int) -> tuple[int, int]:
    """A number in protobuf's variable-length form, and where the next byte stands."""
    value = 0
    for count, byte in enumerate(data[at : min(at + 10, end)], 1):
        value |= (byte & 0x7F) << 7 * (count - 1)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + count
    if at + 10 > end:
        raise WireError(f"it breaks off at byte {end}")
    raise WireError(f"the number at byte {at} has no end")


def write_varint(value: int) -> bytes:
    """A number that is not negative in protobuf's variable-length form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_head(number: int, length: int) -> bytes:
    """What stands before a value of `length` bytes."""
    return write_varint(number << 3 | BYTES) + write_varint(length)


def fields(message: Span) -> Iterator[Field]:
    """The fields of a message in the order in which they stand.

    Old files have arrays unpacked, each element behind its own key. Such a run of fixed-size
    values comes out as one field of wire type BYTES, over a copy without the keys.

    Raises
    ------
    WireError
        The bytes are no message.
    """
    data, at, end = message.data, message.start, message.end
    while at < end:
        begin = at
        key, at = read_varint(data, at, end)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"there is no field {number}, at byte {begin}")
        start = at
        if wire == VARINT:
            at = read_varint(data, at, end)[1]
        elif wire == BYTES:
            length, start = read_varint(data, at, end)
            at = start + length
        elif wire in _SIZES:
            at += _SIZES[wire]
        else:
            raise WireError(f"there is no wire type {wire}, at byte {begin}")
        if at > end:
            raise WireError(f"field {number} at byte {begin} goes on {at - end} bytes too far")
        if wire in _SIZES:
            elements, at = _run(message, begin, start, at)
            yield Field(number, BYTES, whole(elements), at)
        else:
            yield Field(number, wire, Span(data, start, at), at)


def _run(message: Span, begin: int, start: int, end: int) -> tuple[bytes, int]:
    """The elements of an unpacked run without their keys, and where it ends.

    The first element's key is at `begin`, its value from `start` to `end`.
    """
    stride = end - begin
    most = (message.end - begin) // stride
    count = 0
    parts: list[bytes] = []
    # In ever larger pieces, so that many short runs take no longer than one long one.
    piece = 16
    while count < most:
        piece = min(2 * piece, most - count)
        at = begin + count * stride
        rows = np.frombuffer(message.data[at : at + piece * stride], np.uint8).reshape(-1, stride)
        if not parts:
            key = rows[0, : start - begin]
        differs = (rows[:, : start - begin] != key).any(axis=1)
        same = int(differs.argmax()) if differs.any() else piece
        parts.append(rows[:same, start - begin :].tobytes())
        count += same
        if same < piece:
            break
    return b"".join(parts), begin + count * stride
