"""What the words behind a field of a prototxt say, by the field's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor

from .tokens import Token, integer, number, string

_BOOLEANS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}


class BadValue(ValueError):
    """A value that its field does not take; says why."""


def value_of(field: FieldDescriptor, words: list[Token]) -> Any:
    """Return the value that the words say; raises BadValue where the field does not take it."""
    return _VALUES[field.cpp_type](field, words)


def _shown(words: list[Token]) -> str:
    text = " ".join(word.text for word in words)
    return text if len(text) <= 40 else f"{text[:36]} ..."


def _integer(field: FieldDescriptor, words: list[Token]) -> int:
    least, most = _RANGES[field.cpp_type]
    word = "".join(part.text for part in words)
    value = integer(word) if words[0].kind == "word" else None
    if value is None:
        raise BadValue(f"{field.name!r} takes an integer, not {_shown(words)}")
    if not least <= value <= most or (least == 0 and word[0] == "-"):
        raise BadValue(f"{_shown(words)} is out of range: {field.name!r} takes {least} to {most}")
    return value


def _number(field: FieldDescriptor, words: list[Token]) -> float:
    word = "".join(part.text for part in words)
    value = number(word) if words[0].kind == "word" else None
    if value is None:
        raise BadValue(f"{field.name!r} takes a decimal number, not {_shown(words)}")
    return value


def _boolean(field: FieldDescriptor, words: list[Token]) -> bool:
    word = words[0].text if len(words) == 1 else ""
    value = _BOOLEANS.get(word)
    if value is None and word[:1].isdigit():
        value = {0: False, 1: True}.get(cast(int, integer(word)))
    if value is None:
        raise BadValue(f"{field.name!r} takes true or false, not {_shown(words)}")
    return value


def _enum(field: FieldDescriptor, words: list[Token]) -> int:
    kind = field.enum_type
    assert kind is not None
    word = "".join(part.text for part in words) if words[0].kind == "word" else ""
    value = kind.values_by_name.get(word)
    if value is None and (code := integer(word)) is not None:
        value = kind.values_by_number.get(code)
    if value is None:
        names = ", ".join(value.name for value in kind.values)
        raise BadValue(f"{_shown(words)} is not a {kind.name}; there are: {names}")
    return value.number


def _string(field: FieldDescriptor, words: list[Token]) -> str | bytes:
    if words[0].kind != "string":
        raise BadValue(f"{field.name!r} takes a string in quotes, not {_shown(words)}")
    try:
        data = b"".join(string(word.text) for word in words)
        return data if field.type == FieldDescriptor.TYPE_BYTES else data.decode()
    except UnicodeDecodeError:
        raise BadValue(f"the string of {field.name!r} is not UTF-8") from None
    except ValueError as error:
        raise BadValue(f"{field.name!r}: {error}") from None


_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_VALUES: dict[int, Callable[[FieldDescriptor, list[Token]], Any]] = {
    **dict.fromkeys(_RANGES, _integer),
    FieldDescriptor.CPPTYPE_FLOAT: _number,
    FieldDescriptor.CPPTYPE_DOUBLE: _number,
    FieldDescriptor.CPPTYPE_BOOL: _boolean,
    FieldDescriptor.CPPTYPE_ENUM: _enum,
    FieldDescriptor.CPPTYPE_STRING: _string,
}
