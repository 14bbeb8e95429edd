"""Layers' settings as plain objects of Python's, which PyTorch's compiler can look into."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


class Settings:
    """What a parameter message says, under the same names."""

    def __init__(self, given: frozenset[str], values: dict[str, Any]) -> None:
        self._given = given
        for name, value in values.items():
            setattr(self, name, value)

    def HasField(self, name: str) -> bool:
        """Tell whether the text gives a field."""
        return name in self._given


def plain(message: Message) -> Settings:
    """Return a copy of a message, and of those in it."""
    values: dict[str, Any] = {}
    given = set()
    for field in message.DESCRIPTOR.fields:
        is_message = field.type == FieldDescriptor.TYPE_MESSAGE
        value = getattr(message, field.name)
        if field.is_repeated:
            values[field.name] = [plain(v) if is_message else v for v in value]
            continue
        if message.HasField(field.name):
            given.add(field.name)
        elif is_message:
            value = _silent(field.message_type)
        values[field.name] = plain(value) if isinstance(value, Message) else value
    return Settings(frozenset(given), values)


@cache
def _silent(kind: Descriptor) -> Settings:
    """What a message says in which nothing is given; for all who ask."""
    from google.protobuf.message_factory import GetMessageClass

    return plain(GetMessageClass(kind)())
