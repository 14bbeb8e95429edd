"""Messages of the schema by chance, every field that it has among them."""

from __future__ import annotations

import math
import struct
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffe.proto.kept import kept

WHOLE = (0, 1, 2, 3, 5, 8, 255, 2**31 - 1)
BROKEN = (0.0, -0.0, 1.0, -1.5, 0.1, 1e-45, 3.4e38, math.inf, -math.inf, math.nan, 1e22, 123456789)
LETTERS = "ab_ /'\"\\{}<>:#,;\n\t\0\x7f\x85\u2028é漢😀0"
MOST_DEEP = 5


def fill(rng: Random, message: Message, depth: int = 0) -> None:
    """Give some of a message's fields values."""
    descriptor: Any = message.DESCRIPTOR
    fields: list[FieldDescriptor] = list(descriptor.fields)
    count = rng.randint(0, 4) if depth else rng.randint(1, 6)
    for field in rng.sample(fields, min(count, len(fields))):
        _fill_field(rng, message, field, depth)
    for field in fields:
        if field.is_required and not message.HasField(field.name):
            _fill_field(rng, message, field, depth)


def _fill_field(rng: Random, message: Message, field: FieldDescriptor, depth: int) -> None:
    times = rng.choice((1, 1, 2, 3)) if field.is_repeated else 1
    if field.message_type is not None:
        if depth < MOST_DEEP:
            for _ in range(times):
                inner = getattr(message, field.name)
                inner = inner.add() if field.is_repeated else inner
                inner.SetInParent()
                fill(rng, inner, depth + 1)
        return
    values = [_value(rng, field) for _ in range(times)]
    if field.is_repeated:
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, values[0])


def same(one: Message, other: Message) -> bool:
    """Whether two messages hold the same, of whatever bits a NaN is."""
    if one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True):
        return True
    mine, its = one.ListFields(), other.ListFields()
    return (
        [field for field, _ in mine] == [field for field, _ in its]
        and kept(one) == kept(other)
        and all(_same_values(a, b) for (_, a), (_, b) in zip(mine, its, strict=True))
    )


def _same_values(one: Any, other: Any) -> bool:
    if isinstance(one, Message):
        return same(one, other)
    if isinstance(one, (str, bytes, int)):
        return bool(one == other)
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return len(one) == len(other) and all(map(_same_values, one, other))


def _value(rng: Random, field: FieldDescriptor) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        among: Any = field.enum_type
        return rng.choice(list(among.values_by_number))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = "".join(rng.choices(LETTERS, k=rng.choice((0, 1, 3, 8))))
        return text if field.type == FieldDescriptor.TYPE_STRING else text.encode() + b"\xff\x00"
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        if rng.random() < 0.5:
            return rng.choice(BROKEN)
        if kind == FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.gauss(0, 1)
        single: float = struct.unpack("<f", rng.randbytes(4))[0]
        # Of all that is no number the text knows one.
        return math.nan if math.isnan(single) else single
    number = rng.choice(WHOLE)
    is_unsigned = kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return number if is_unsigned or rng.random() < 0.7 else -number
