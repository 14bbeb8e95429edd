"""Fields that the schema does not know, kept with the message in whose text they stood.

Their text is stored as an unknown field of the message, so that copies and merges keep it too, and
whoever writes the message as text gets it back.
"""

from __future__ import annotations

import io
import struct

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

NUMBER = (1 << 29) - 1
"""The highest number that a field may have; no schema of Caffe's uses it."""

_TAG = NUMBER << 3 | 2


def keep(message: Message, text: str) -> None:
    """Store a field's text with a message, its lines from the margin on."""
    data = _indented(text, 0).encode()
    message.MergeFromString(_varint(_TAG) + _varint(len(data)) + data)


def kept(message: Message) -> list[str]:
    """Return the texts that are stored with a message, in order; not those of its parts."""
    fields = UnknownFieldSet(message)
    every = (fields[i] for i in range(len(fields)))
    return [field.data.decode() for field in every if field.field_number == NUMBER]


def to_text(message: Message) -> str:
    """Write a message as text, with what is kept."""
    out = io.StringIO()
    _write(message, out, 0)
    return out.getvalue()


def _write(message: Message, out: io.StringIO, indent: int) -> None:
    for field, value in message.ListFields():
        for one in value if hasattr(value, "extend") else [value]:
            if field.message_type is not None:
                out.write(" " * indent + field.name + " {\n")
                _write(one, out, indent + 2)
                out.write(" " * indent + "}\n")
            elif isinstance(one, float):
                double = field.type == FieldDescriptor.TYPE_DOUBLE
                out.write(" " * indent + f"{field.name}: {_number(one, double)}\n")
            else:
                text_format.PrintField(field, one, out, indent=indent)
    for text in kept(message):
        out.write(" " * indent + _indented(text, indent) + "\n")


def _number(value: float, double: bool) -> str:
    """A number as protobuf's C++ library writes it: shortly, or with all digits where it must."""
    short = f"{value:.15g}" if double else f"{value:.6g}"
    if double:
        return short if float(short) == value else f"{value:.17g}"
    return short if struct.pack("<f", float(short)) == struct.pack("<f", value) else f"{value:.9g}"


def _indented(text: str, indent: int) -> str:
    """Let the lines behind the first stand so far in that the least of them is at `indent`.

    Only a line feed ends a line: whatever else looks like a line's end may be part of a string.
    """
    first, *rest = text.split("\n")
    rest = [line if line.strip(" \t") else "" for line in rest]
    least = min((len(line) - len(line.lstrip(" \t")) for line in rest if line), default=0)
    return "\n".join([first, *(line and " " * indent + line[least:] for line in rest)])


def _varint(number: int) -> bytes:
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    return bytes([*result, number])
