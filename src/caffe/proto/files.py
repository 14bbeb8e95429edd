"""Nets and solvers read from files, text or binary by content, in today's form."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from ..errors import ParseError
from ..guarded import guarded
from ..logs import say
from ..paths import PathLike, path_text
from . import caffe_pb2, contents
from .reader import check_required
from .text import decode, parse_text
from .upgrade import upgrade_net_in_place, upgrade_solver

AnyMessage = TypeVar("AnyMessage", bound=Message)


@guarded
def read_net(path: PathLike) -> caffe_pb2.NetParameter:
    """A net from a prototxt or a .caffemodel, upgraded; layer types are not checked.

    Raises
    ------
    ParseError
        The file is missing or no net; says line and column where it is a text.
    """
    source = path_text(path)
    net = read_message(path, caffe_pb2.NetParameter())
    upgrade_net_in_place(net, source)
    return net


@guarded
def parse_net(text: str, source: str = "<text>") -> caffe_pb2.NetParameter:
    """A net from a prototxt in a string, upgraded.

    Examples
    --------
    >>> net = parse_net('input: "data" input_dim: [1, 3, 8, 8]')
    >>> net.layer[0].type, list(net.layer[0].input_param.shape[0].dim)
    ('Input', [1, 3, 8, 8])
    """
    net = parse_text(text, caffe_pb2.NetParameter(), source)
    upgrade_net_in_place(net, source)
    return net


@guarded
def read_solver(path: PathLike) -> caffe_pb2.SolverParameter:
    """A solver from its prototxt (or binary), upgraded.

    As in Caffe, snapshots are named after the file where ``snapshot_prefix`` is absent or names
    a folder.

    Raises
    ------
    ParseError
        The file is missing or no solver; says line and column where it is a text.
    """
    source = path_text(path)
    solver = upgrade_solver(read_message(path, caffe_pb2.SolverParameter()), source)
    stem = os.path.splitext(source)[0]
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = stem
        say("upgrade_proto.cpp:1108", f"snapshot_prefix was not specified and is set to {stem}")
    elif os.path.isdir(solver.snapshot_prefix):
        prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
        solver.snapshot_prefix = prefix
        say(
            "upgrade_proto.cpp:1113", f"snapshot_prefix was a directory and is replaced to {prefix}"
        )
    return solver


@guarded
def read_message(path: PathLike, message: AnyMessage) -> AnyMessage:
    """Merge a file into a message, not upgraded; text or binary is told by its content.

    Raises
    ------
    ParseError
        The file is missing or holds no such message.
    """
    source = path_text(path)
    data = contents.read_bytes(path)
    if contents.is_text(data):
        return parse_text(decode(data, source), message, source)
    parsed = type(message)()
    try:
        if data.startswith(contents.HDF5_SIGNATURE):
            raise DecodeError
        parsed.ParseFromString(data)
        # Bytes that happen to parse leave nothing that the schema knows.
        if not parsed.ListFields() or _has_bad_string(parsed):
            raise DecodeError
    except (DecodeError, UnicodeDecodeError):
        name = message.DESCRIPTOR.name
        raise ParseError(
            f"a {name} (text or binary) was expected, but this is {contents.describe(data)}, "
            "or damaged",
            source,
        ) from None
    check_required(parsed, source)
    message.MergeFrom(parsed)
    return message


def _has_bad_string(message: Message) -> bool:
    """Whether any string is not UTF-8, which protobuf notices only when the string is used."""
    for field, value in message.ListFields():
        parts: Iterable[Any] = [value] if isinstance(value, (str, bytes, Message)) else value
        if field.message_type is not None:
            if any(_has_bad_string(part) for part in parts):
                return True
        elif field.type == field.TYPE_STRING and not all(isinstance(part, str) for part in parts):
            return True
    return False
