"""Prototxt: messages read from text and written as text.

A field that the schema does not know is passed over and kept, so that the texts of Caffe's forks
load.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from ..atomic import atomic_write
from ..errors import ParseError
from ..guarded import guarded
from ..paths import PathLike, path_text
from . import contents
from .kept import to_text
from .reader import Reader

AnyMessage = TypeVar("AnyMessage", bound=Message)


@guarded
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
    parsed = type(message)()
    Reader(text.removeprefix("\ufeff").replace("\r\n", "\n"), parsed, source).read()
    message.MergeFrom(parsed)
    return message


@guarded
def read_text(path: PathLike, message: AnyMessage) -> AnyMessage:
    """Merge a prototxt file into a message; see `parse_text`.

    Windows line ends, a byte order mark, and comments that are not UTF-8 are taken as they come.
    """
    source = path_text(path)
    return parse_text(decode(contents.read_bytes(path), source), message, source)


@guarded
def format_text(message: Message) -> str:
    """The message as a prototxt, in the layout that Caffe writes, with what was kept."""
    return to_text(message)


@guarded
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
