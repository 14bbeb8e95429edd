"""Prototxt: messages read from text and written as text.

protobuf's own parser does the reading. What it does not do is done by a walk over the tokens,
only when that parser refuses a text: saying which brace is open, and finding the fields that the
schema does not know, so that the texts of Caffe's forks load.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ..atomic import atomic_write
from ..errors import CaffeWarning, ParseError
from ..paths import PathLike, path_text
from . import contents
from .kept import keep, to_text

AnyMessage = TypeVar("AnyMessage", bound=Message)

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<mark>[{}<>\[\]:;,])
    |(?P<quote>["'])
    |(?P<word>[^\s\#"'{}<>\[\]:;,]+)""",
    re.VERBOSE,
)
_CLOSERS = {"{": "}", "<": ">", "[": "]"}
_PLACE = re.compile(r"^\d+:\d+ : (?:(?P<quoted>'.*'|\".*\"): )?(?P<rest>.*)$", re.DOTALL)
_BAD_ENUM = re.compile(
    r'Enum type "(?P<type>[\w.]+)" has no value (?:named|with number) (?P<value>\S+?)\.?$'
)


def parse_text(text: str, message: AnyMessage, source: str = "<text>") -> AnyMessage:
    """Merge a prototxt into a message.

    A field that the schema does not know is reported once by a `CaffeWarning`, and kept: the
    message written as text has it again. So is an `engine` that nobody knows, as it only says how
    a layer is computed.

    Parameters
    ----------
    text : str
        The prototxt.
    message : Message
        What the text describes, for example an empty ``NetParameter``; unchanged on failure.
    source : str
        The file's name, for the errors.

    Returns
    -------
    Message
        `message`.

    Raises
    ------
    ParseError
        The text is not what the message wants; says line, column and why.

    Examples
    --------
    >>> from caffe.proto import caffe_pb2
    >>> parse_text('name: "LeNet"', caffe_pb2.NetParameter()).name
    'LeNet'
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    parsed = type(message)()
    unknown: list[_Unknown] = []
    try:
        text_format.Parse(text, parsed)
    except text_format.ParseError as error:
        descriptor = cast(Descriptor, message.DESCRIPTOR)
        walk = _Walk(text, descriptor, source)
        unknown = walk.unknown_fields()
        parsed = type(message)()
        try:
            if not unknown:
                raise error
            text_format.Parse(_blank(text, unknown), parsed)
        except text_format.ParseError as last:
            raise _translate(last, text, descriptor, source) from None
    if unknown and not parsed.ListFields():
        name = message.DESCRIPTOR.name
        what = f"nothing of a {name} is in it; is this another kind of file?"
        raise ParseError(what, source, *_place(text, min(field.start for field in unknown)))
    check_required(parsed, source)
    for field in unknown:
        keep(_at(parsed, field.path), text[field.start : field.end].rstrip(",; \t\n"))
    _report(unknown, text, source)
    message.MergeFrom(parsed)
    return message


def read_text(path: PathLike, message: AnyMessage) -> AnyMessage:
    """Merge a prototxt file into a message; see `parse_text`.

    Windows line ends, a byte order mark, and comments that are not UTF-8 are taken as they come.
    """
    source = path_text(path)
    return parse_text(decode(contents.read_bytes(path), source), message, source)


def format_text(message: Message) -> str:
    """The message as a prototxt, in the layout that Caffe writes, with what was kept."""
    return to_text(message)


def write_text(path: PathLike, message: Message) -> None:
    """Write the message as a prototxt file, wholly or not at all."""
    with atomic_write(path, "w") as stream:
        stream.write(format_text(message))


def decode(data: bytes, source: str) -> str:
    """The characters of a prototxt file's bytes.

    Raises
    ------
    ParseError
        The bytes are no text at all.
    """
    if not contents.is_text(data):
        raise ParseError(
            f"a prototxt (text) was expected, but this is {contents.describe(data)}", source
        )
    # Old files have comments in whatever their author's editor wrote; Latin-1 reads any byte.
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else []
    for encoding in [*encodings, "utf-8-sig"]:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


@dataclass
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass
class _Layer:
    """A layer that the walk is in; its name may come after what it encloses."""

    name: str = ""


@dataclass
class _Unknown:
    """A field that the schema does not know, and the text that says it."""

    message: str
    field: str
    start: int
    end: int
    layer: _Layer | None
    # The message that it stands in, from the outermost: names of fields, and which of several.
    path: tuple[tuple[str, int], ...] = ()
    # A known field's value that the schema does not know; empty for a whole field.
    value: str = ""


@dataclass
class _Open:
    """A brace or bracket that the walk is inside of."""

    field: str
    opener: _Token | None
    # None inside something that the schema does not know.
    descriptor: Descriptor | None
    layer: _Layer | None = None
    unknown: _Unknown | None = None
    misplaced: _Token | None = None
    path: tuple[tuple[str, int], ...] = ()
    # How many messages of each field there were so far.
    counts: dict[str, int] = dataclass_field(default_factory=dict)


class _Walk:
    """One pass over a prototxt's tokens beside the schema."""

    def __init__(self, text: str, descriptor: Descriptor, source: str) -> None:
        self.text = text
        self.source = source
        self.open = [_Open("", None, descriptor)]
        self.unknown: list[_Unknown] = []
        self.tokens = list(self._tokenize())
        self.at = 0

    def _tokenize(self) -> Iterator[_Token]:
        for match in _TOKEN.finditer(self.text):
            kind = match.lastgroup or ""
            if kind == "quote":
                raise self._error("this string has no closing quote", match.start())
            if kind != "skip":
                yield _Token(kind, match.group(), match.start(), match.end())

    def _error(self, what: str, position: int) -> ParseError:
        return ParseError(what, self.source, *_place(self.text, position))

    def unknown_fields(self) -> list[_Unknown]:
        """The fields that the schema does not know, in order.

        Raises
        ------
        ParseError
            Braces or quotes do not match. Other mistakes end the walk early: protobuf's parser
            names them.
        """
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.text in ("}", ">", "]") and token.kind == "mark":
                self._close(token)
            elif token.text in (",", ";"):
                continue
            elif not (self._element(token) if self._in_list() else self._field(token)):
                return self.unknown
        inner = self.open[-1]
        if inner.opener is not None:
            what = f"the text ends inside {inner.field!r}: this {inner.opener.text!r} is not closed"
            if inner.layer is not None and inner.layer.name:
                what += f" (layer {inner.layer.name!r})"
            if inner.misplaced is not None:
                line = _place(self.text, inner.misplaced.start)[0]
                what += f"; a {_CLOSERS[inner.opener.text]!r} may be missing before line {line}"
            raise self._error(what, inner.opener.start)
        for field in self.unknown:
            if field.field in ("layer", "layers") and field.layer is not None:
                what = (
                    f"{field.field!r} inside layer {field.layer.name!r}: is a '}}' missing above?"
                )
                raise self._error(what, field.start)
        return self.unknown

    def _in_list(self) -> bool:
        opener = self.open[-1].opener
        return opener is not None and opener.text == "["

    def _close(self, token: _Token) -> None:
        inner = self.open[-1]
        if inner.opener is None:
            raise self._error(f"this {token.text!r} closes nothing", token.start)
        wanted = _CLOSERS[inner.opener.text]
        if token.text != wanted:
            line = _place(self.text, inner.opener.start)[0]
            raise self._error(
                f"{wanted!r} is wanted here, for the {inner.opener.text!r} of {inner.field!r} "
                f"in line {line}",
                token.start,
            )
        self.open.pop()
        if inner.unknown is not None:
            self._record(inner.unknown, token.end)

    def _record(self, unknown: _Unknown, end: int) -> None:
        # A separator left alone behind a removed field would be an error of its own.
        if self.at < len(self.tokens) and self.tokens[self.at].text in (",", ";"):
            end = self.tokens[self.at].end
            self.at += 1
        unknown.end = end
        self.unknown.append(unknown)

    def _enter(self, opener: _Token, name: str, field: FieldDescriptor | None) -> _Open:
        around = self.open[-1]
        inner = _Open(name, opener, field.message_type if field else None, around.layer)
        inner.path = around.path
        if opener.text != "[":
            inner.path = self._step(around, name)
        if inner.descriptor is not None and inner.descriptor.name.endswith("LayerParameter"):
            # A V0 layer's name stands one level further in; both levels are one layer.
            inner.layer = inner.layer or _Layer()
        self.open.append(inner)
        return inner

    @staticmethod
    def _step(around: _Open, name: str) -> tuple[tuple[str, int], ...]:
        """The path of the next message of a field."""
        count = around.counts.get(name, 0)
        around.counts[name] = count + 1
        return (*around.path, (name, count))

    def _element(self, token: _Token) -> bool:
        """One element of a list in brackets."""
        around = self.open[-1]
        if token.text in ("{", "<", "[") and token.kind == "mark":
            inner = _Open(around.field, token, around.descriptor, around.layer)
            inner.path = self._step(self.open[-2], around.field)
            if around.descriptor is not None and around.descriptor.name.endswith("LayerParameter"):
                inner.layer = _Layer()
            self.open.append(inner)
        return True

    def _field(self, name: _Token) -> bool:
        """One field with its value; false where the text is not of that form."""
        around = self.open[-1]
        field_name = name.text
        if field_name == "[":
            field_name = self._extension()
        elif name.kind != "word":
            return False
        known = around.descriptor.fields_by_name.get(field_name) if around.descriptor else None
        unknown = None
        if known is None and around.descriptor is not None:
            where = around.descriptor.name
            unknown = _Unknown(where, field_name, name.start, name.end, around.layer, around.path)
            if field_name in ("layer", "layers") and around.misplaced is None:
                around.misplaced = name
        if self._peek() == ":":
            self.at += 1
        if self.at >= len(self.tokens):
            return self._ended(name)
        value = self.tokens[self.at]
        if value.kind == "mark":
            if value.text not in _CLOSERS:
                return False
            self.at += 1
            self._enter(value, field_name, known).unknown = unknown
            return True
        self._scalar()
        if known is not None and around.descriptor and _is_unknown_engine(known, value):
            where = around.descriptor.name
            unknown = _Unknown(
                where, field_name, name.start, name.end, around.layer, around.path, value.text
            )
        if field_name == "name" and around.layer is not None and around.descriptor is not None:
            around.layer.name = value.text.strip("\"'")
        if unknown is not None:
            self._record(unknown, self.tokens[self.at - 1].end)
        return True

    def _peek(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def _extension(self) -> str:
        """The name of a field in brackets, with them."""
        name = "["
        while self.at < len(self.tokens) and not name.endswith("]"):
            name += self.tokens[self.at].text
            self.at += 1
        return name

    def _scalar(self) -> None:
        """Step over a word, or over strings that stand one behind the other."""
        first = self.tokens[self.at]
        self.at += 1
        while (
            first.kind == "string"
            and self.at < len(self.tokens)
            and self.tokens[self.at].kind == "string"
        ):
            self.at += 1

    def _ended(self, name: _Token) -> bool:
        if len(self.open) == 1:
            raise self._error(f"the text ends before the value of {name.text!r}", name.start)
        return True


def _is_unknown_engine(field: FieldDescriptor, value: _Token) -> bool:
    # Any other value that nobody knows would change what is computed, and is an error.
    if field.enum_type is None or field.name != "engine" or value.kind != "word":
        return False
    return value.text not in field.enum_type.values_by_name and not value.text.isdigit()


def _at(message: Message, path: tuple[tuple[str, int], ...]) -> Message:
    """The message that a path leads to."""
    for name, index in path:
        value = getattr(message, name)
        message = value if isinstance(value, Message) else value[index]
    return message


def _place(text: str, position: int) -> tuple[int, int, str | None]:
    """Line and column of a position, counted from 1, and the line itself."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : end if end >= 0 else len(text)]
    return text.count("\n", 0, position) + 1, position - start + 1, _printable(line)


def _printable(line: str) -> str | None:
    return line if len(line) <= 200 else None


def _blank(text: str, unknown: list[_Unknown]) -> str:
    """The text without these fields, everything else where it was."""
    pieces = []
    at = 0
    for field in sorted(unknown, key=lambda field: field.start):
        pieces += [text[at : field.start], re.sub(r"[^\n]", " ", text[field.start : field.end])]
        at = field.end
    return "".join([*pieces, text[at:]])


def _report(unknown: list[_Unknown], text: str, source: str) -> None:
    seen: dict[tuple[str, str, str], list[_Unknown]] = {}
    for field in sorted(unknown, key=lambda field: field.start):
        seen.setdefault((field.message, field.field, field.value), []).append(field)
    for (message, name, value), fields in seen.items():
        first = fields[0]
        where = f"{source}:{_place(text, first.start)[0]}: "
        if first.layer is not None and first.layer.name:
            where += f"layer {first.layer.name!r}: "
        times = f" ({len(fields)} times)" if len(fields) > 1 else ""
        what = f"{message} has no field {name!r}"
        if value:
            what = f"{message} has no {name} {value!r}"
        warnings.warn(
            f"{where}{what}; it is kept, but ignored{times}",
            CaffeWarning,
            stacklevel=3,
        )


def check_required(message: Message, source: str) -> None:
    """Raise a ParseError where a field that must be given is not."""
    missing = cast(Any, message).FindInitializationErrors()
    if missing:
        raise ParseError(f"these fields must be given: {', '.join(missing)}", source)


def _translate(
    error: text_format.ParseError, text: str, descriptor: Descriptor, source: str
) -> ParseError:
    """protobuf's error with the line itself and, for an enum, the values that exist."""
    line, column = error.GetLine(), error.GetColumn()
    what = str(error)
    if match := _PLACE.match(what):
        what = match.group("rest")
    if match := _BAD_ENUM.search(what):
        enum = descriptor.file.pool.FindEnumTypeByName(match.group("type"))
        names = ", ".join(value.name for value in enum.values)
        what = f"{match.group('value')} is not a {enum.name}; there are: {names}"
    elif text.lstrip()[:9].lower().startswith(("<!doctype", "<html")):
        what = "a prototxt was expected, but this is a web page (a download that failed?)"
    if line is None:
        return ParseError(what, source)
    lines = text.split("\n")
    shown = _printable(lines[line - 1]) if 0 < line <= len(lines) else None
    return ParseError(what, source, line, column, shown)
