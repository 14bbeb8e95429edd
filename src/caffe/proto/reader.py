"""The reader of prototxts: one pass over the tokens, beside the schema.

Brackets that do not match are told before anything else that is wrong, since they are mostly its
cause.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ..errors import CaffeWarning, ParseError
from .kept import keep
from .tokens import Places, Token, integer, tokens
from .values import BadValue, value_of

_CLOSERS = {"{": "}", "<": ">", "[": "]"}


class _Field(NamedTuple):
    """A field of the schema."""

    descriptor: FieldDescriptor
    name: str
    is_repeated: bool
    is_message: bool


@functools.cache
def _fields_of(descriptor: Descriptor) -> dict[str, _Field]:
    return {
        field.name: _Field(
            field,
            field.name,
            # Older versions of protobuf have only the label, later ones warn of it.
            cast(Any, field).is_repeated
            if hasattr(FieldDescriptor, "is_repeated")
            else cast(Any, field).label == FieldDescriptor.LABEL_REPEATED,
            field.message_type is not None,
        )
        for field in descriptor.fields
    }


@dataclass
class _Layer:
    """A layer that the reader is in; its name may come after what it encloses."""

    name: str = ""


@dataclass
class _Unknown:
    """A field that the schema does not know, and the text that says it."""

    around: Message
    field: str
    start: int
    end: int
    layer: _Layer | None
    # A known field's value that the schema does not know; empty for a whole field.
    value: str = ""

    @property
    def message(self) -> str:
        """The type of the message that it stands in."""
        return self.around.DESCRIPTOR.name


@dataclass
class _Open:
    """A bracket that the reader is inside of.

    `message` is None inside something that the schema does not know. Of a list, `message` is the
    one that its field belongs to.
    """

    name: str
    opener: Token | None
    message: Message | None
    layer: _Layer | None = None
    unknown: _Unknown | None = None
    misplaced: Token | None = None
    # Of a list: its field, and whether an element or a comma stood last.
    field: _Field | None = None
    last: str = ""


class Reader:
    """One pass over a prototxt's tokens beside the schema.

    Parameters
    ----------
    text : str
        The prototxt.
    message : Message
        What it is read into.
    source : str
        The file's name, for the errors.
    """

    def __init__(self, text: str, message: Message, source: str) -> None:
        self._text = text
        self._source = source
        self._message = message
        self._places = Places(text)
        self._open = [_Open("", None, message)]
        self._unknown: list[_Unknown] = []
        self._mistake: ParseError | None = None
        self._at = 0

    def read(self) -> None:
        """Fill the message; report and keep what the schema does not know."""
        self._check_characters()
        self._tokens = list(tokens(self._text))
        for token in self._tokens:
            if token.kind == "quote":
                raise self._error("this string has no closing quote", token.start)
        while self._at < len(self._tokens):
            token = self._next()
            inner = self._open[-1]
            if token.kind == "mark" and token.text in ("}", ">", "]"):
                self._close(token)
            elif inner.message is None:
                self._pass_over(token, inner)
            elif inner.field is not None:
                self._element(token, inner, inner.field)
            else:
                self._field(token, inner, inner.message)
        self._check_end()
        check_required(self._message, self._source)
        for unknown in self._unknown:
            keep(unknown.around, self._text[unknown.start : unknown.end])
        self._report()

    def _check_characters(self) -> None:
        try:
            self._text.encode()
        except UnicodeEncodeError as error:
            what = "half a character (a surrogate without its other) stands here"
            line, column, _ = self._places.at(error.start)
            raise ParseError(what, self._source, line, column) from None

    # Tokens.

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _takes(self, *marks: str) -> bool:
        """Step over one of these marks, if it comes next."""
        token = self._peek()
        found = token is not None and token.kind == "mark" and token.text in marks
        self._at += found
        return found

    def _value_words(self, first: Token) -> list[Token]:
        """Take the rest of a value: further strings, or the number behind a sign."""
        found = [first]
        while (token := self._peek()) is not None and (
            (first.kind == "string" and token.kind == "string")
            or (first.text == "-" and token.kind == "word" and len(found) == 1)
        ):
            found.append(self._next())
        return found

    # Brackets.

    def _enter(self, name: str, opener: Token, message: Message | None) -> _Open:
        around = self._open[-1]
        inner = _Open(name, opener, message, around.layer)
        self._open.append(inner)
        return inner

    def _enter_message(self, field: _Field, opener: Token, around: Message) -> None:
        """Go on inside a message's brackets."""
        value = getattr(around, field.name)
        if field.is_repeated:
            value = value.add()
        else:
            value.SetInParent()
        inner = self._enter(field.name, opener, value)
        if value.DESCRIPTOR.name.endswith("LayerParameter"):
            # A V0 layer's name stands one level further in; both levels are one layer.
            inner.layer = inner.layer or _Layer()

    def _close(self, token: Token) -> None:
        inner = self._open[-1]
        if inner.opener is None:
            raise self._error(f"this {token.text!r} closes nothing", token.start)
        wanted = _CLOSERS[inner.opener.text]
        if token.text != wanted:
            raise self._error(
                f"{wanted!r} is wanted here, for the {inner.opener.text!r} of {inner.name!r} "
                f"in line {self._places.line(inner.opener.start)}",
                token.start,
            )
        if inner.field is not None and inner.last == ",":
            self._note("an element is wanted behind the ','", token)
        self._open.pop()
        if self._open[-1].field is not None:
            return
        if inner.unknown is not None:
            self._record(inner.unknown, token.end)
        elif self._open[-1].message is not None:
            self._takes(",", ";")

    def _pass_over(self, token: Token, inner: _Open) -> None:
        """One token of something that the schema does not know."""
        if token.kind == "mark" and token.text in _CLOSERS:
            self._enter(inner.name, token, None)
        elif token.kind == "word":
            inner.name = token.text

    # Fields and elements.

    def _field(self, token: Token, around: _Open, message: Message) -> None:
        """One field, its value or what opens that, and the separator behind it."""
        name = self._field_name(token)
        field = _fields_of(cast(Descriptor, message.DESCRIPTOR)).get(name)
        has_colon = self._takes(":")
        value = self._peek()
        if value is None:
            if len(self._open) == 1:
                what = f"the text ends before the value of {name!r}"
                raise self._error(what, token.start)
            return
        if value.kind == "mark" and value.text not in _CLOSERS:
            raise self._error(f"the value of {name!r} is wanted here", value.start)
        self._at += 1
        if field is None:
            if name in ("layer", "layers") and around.misplaced is None:
                around.misplaced = token
            unknown = _Unknown(message, name, token.start, token.end, around.layer)
            self._skip(name, value, unknown)
            return
        if not field.is_repeated and message.HasField(name):
            self._note(
                f"there are multiple values of {name!r}, which may stand only once in its "
                f"{message.DESCRIPTOR.name}",
                value,
            )
            self._skip(name, value)
        elif value.text == "[" and value.kind == "mark" and field.is_repeated:
            if not (has_colon or field.is_message):
                self._note(f"a ':' is wanted behind {name!r}", value)
            self._enter(name, value, message).field = field
        elif field.is_message:
            if value.kind == "mark" and value.text != "[":
                self._enter_message(field, value, message)
            else:
                self._note(f"{name!r} is a message: its fields are wanted here, in {{ }}", value)
                self._skip(name, value)
        elif value.kind == "mark":
            self._note(f"one value of {name!r} is wanted here", value)
            self._skip(name, value)
        else:
            if not has_colon:
                self._note(f"a ':' is wanted behind {name!r}", value)
            words = self._value_words(value)
            self._read_value(field, words, message, around, token)

    def _read_value(
        self, field: _Field, words: list[Token], message: Message, around: _Open, name: Token
    ) -> None:
        """Set a field that is no message."""
        if _is_unknown_engine(field.descriptor, words[0]):
            start, value = name.start, words[0].text
            unknown = _Unknown(message, field.name, start, start, around.layer, value)
            self._record(unknown, words[-1].end)
            return
        self._put(field, words, message)
        self._takes(",", ";")
        if field.name == "name" and around.layer is not None and words[0].kind == "string":
            around.layer.name = words[0].text[1:-1]

    def _element(self, token: Token, inner: _Open, field: _Field) -> None:
        """One element of a list in brackets, or the comma between two."""
        assert inner.message is not None
        is_comma = token.kind == "mark" and token.text == ","
        if is_comma != (inner.last == "element"):
            wanted = "a ','" if inner.last == "element" else "an element"
            self._note(f"{wanted} is wanted here, in the list of {field.name!r}", token)
        inner.last = "," if is_comma else "element"
        opens = token.kind == "mark" and token.text in ("{", "<", "[")
        if opens and field.is_message and token.text != "[":
            self._enter_message(field, token, inner.message)
        elif opens:
            self._note(f"a value of {field.name!r} is wanted here", token)
            self._enter(field.name, token, None)
        elif token.kind == "mark":
            if not is_comma:
                self._note(f"this {token.text!r} has no place in a list", token)
        elif field.is_message:
            self._note(f"{field.name!r} is a message: its fields are wanted here, in {{ }}", token)
        else:
            self._put(field, self._value_words(token), inner.message)

    def _field_name(self, token: Token) -> str:
        if token.kind == "mark" and token.text == "[":
            # An extension.
            name = "["
            while not name.endswith("]") and self._peek() is not None:
                name += self._next().text
            return name
        if token.kind != "word":
            raise self._error(f"a field's name is wanted here, not {token.text:.40}", token.start)
        return token.text

    def _skip(self, name: str, value: Token, unknown: _Unknown | None = None) -> None:
        """Pass over a value that cannot be read."""
        if value.kind == "mark":
            self._enter(name, value, None).unknown = unknown
            return
        end = self._value_words(value)[-1].end
        if unknown is not None:
            self._record(unknown, end)
        else:
            self._takes(",", ";")

    def _record(self, unknown: _Unknown, end: int) -> None:
        self._takes(",", ";")
        unknown.end = end
        self._unknown.append(unknown)

    # Values.

    def _put(self, field: _Field, words: list[Token], message: Message) -> None:
        try:
            value = value_of(field.descriptor, words)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        except BadValue as error:
            self._note(str(error), words[0])

    # Mistakes.

    def _error(self, what: str, position: int) -> ParseError:
        if self._text.lstrip()[:9].lower().startswith(("<!doctype", "<html")):
            what = "a prototxt was expected, but this is a web page (a download that failed?)"
        return ParseError(what, self._source, *self._places.at(position))

    def _note(self, what: str, token: Token) -> None:
        """Remember a mistake, which is told unless a bracket turns out to be its cause."""
        if self._mistake is None:
            self._mistake = self._error(what, token.start)

    def _check_end(self) -> None:
        inner = self._open[-1]
        if inner.opener is not None:
            raise self._not_closed()
        for unknown in self._unknown:
            if unknown.field in ("layer", "layers") and unknown.layer is not None:
                what = (
                    f"{unknown.field!r} inside layer {unknown.layer.name!r}: "
                    "is a '}' missing above?"
                )
                raise self._error(what, unknown.start)
        if self._mistake is not None:
            raise self._mistake
        if self._unknown and not self._message.ListFields():
            name = self._message.DESCRIPTOR.name
            what = f"nothing of a {name} is in it; is this another kind of file?"
            raise self._error(what, min(unknown.start for unknown in self._unknown))

    def _not_closed(self) -> ParseError:
        inner = self._open[-1]
        assert inner.opener is not None
        what = f"the text ends inside {inner.name!r}: this {inner.opener.text!r} is not closed"
        if inner.layer is not None and inner.layer.name:
            what += f" (layer {inner.layer.name!r})"
        if inner.misplaced is not None:
            line = self._places.line(inner.misplaced.start)
            what += f"; a {_CLOSERS[inner.opener.text]!r} may be missing before line {line}"
        return self._error(what, inner.opener.start)

    def _report(self) -> None:
        seen: dict[tuple[str, str, str], list[_Unknown]] = {}
        for unknown in sorted(self._unknown, key=lambda unknown: unknown.start):
            key = (unknown.message, unknown.field, unknown.value)
            seen.setdefault(key, []).append(unknown)
        for (message, name, value), fields in seen.items():
            first = fields[0]
            where = f"{self._source}:{self._places.line(first.start)}: "
            if first.layer is not None and first.layer.name:
                where += f"layer {first.layer.name!r}: "
            times = f" ({len(fields)} times)" if len(fields) > 1 else ""
            what = f"{message} has no field {name!r}"
            if value:
                what = f"{message} has no {name} {value!r}"
            warnings.warn(
                f"{where}{what}; it is kept, but ignored{times}", CaffeWarning, stacklevel=4
            )


def _is_unknown_engine(field: FieldDescriptor, value: Token) -> bool:
    # Any other value that nobody knows would change what is computed, and is an error.
    if field.name != "engine" or field.enum_type is None or value.kind != "word":
        return False
    return value.text not in field.enum_type.values_by_name and integer(value.text) is None


def check_required(message: Message, source: str) -> None:
    """Raise a ParseError where a field that must be given is not."""
    missing = cast(Any, message).FindInitializationErrors()
    if missing:
        raise ParseError(f"these fields must be given: {', '.join(missing)}", source)
