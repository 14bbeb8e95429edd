"""`caffe upgrade`: old nets and solvers written in today's form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from google.protobuf.message import Message

from ..atomic import atomic_write
from ..errors import CaffeError, ParseError

TEXT_SUFFIXES = (".prototxt", ".pbtxt", ".txt")
BINARY_SUFFIXES = (".caffemodel", ".binaryproto", ".pb")

AnyMessage = TypeVar("AnyMessage", bound=Message)


def upgrade(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A net or solver, text or binary.")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="Written as text if its name ends in .prototxt, as binary if in .caffemodel, "
            "else in the form that IN has. May be IN itself.",
        ),
    ],
    solver: Annotated[bool, typer.Option("--solver", help="IN is a solver, not a net.")] = False,
) -> None:
    """Write a net or solver of any age in today's form.

    Nets of 2013 (V0) and 2014 (V1), input fields, settings of data layers and BatchNorm's
    learning rates are upgraded, weights come along. Whether IN is text or binary is told by its
    content. OUT is written as a whole or not at all.
    """
    from ..proto import contents

    binary = not contents.is_text(contents.read_bytes(source))
    suffix = target.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        raise CaffeError(f"{target}: HDF5 holds weights alone; name OUT .prototxt or .caffemodel")
    if suffix in TEXT_SUFFIXES + BINARY_SUFFIXES:
        binary = suffix in BINARY_SUFFIXES
    write_upgraded(source, target, solver, binary)


def write_upgraded(source: Path, target: Path, solver: bool, binary: bool) -> None:
    """Write a net or solver in today's form, and tell what was changed.

    Raises
    ------
    CaffeError
        The file cannot be read, or holds something else.
    """
    message, changes = _upgraded_solver(source) if solver else _upgraded_net(source)
    _write(target, message, binary)
    for change in changes:
        print(change)
    form = "binary" if binary else "text"
    already = "" if changes else f"{source} is in today's form already; "
    print(f"{already}{target} written as {form}.")


def _read(source: Path, message: AnyMessage, other: Message, advice: str) -> AnyMessage:
    """The file's message; if it rather holds the `other` kind, say so with some advice."""
    from ..proto import files

    try:
        return files.read_message(source, message)
    except ParseError:
        try:
            files.read_message(source, other)
        except ParseError:
            pass
        else:
            raise CaffeError(f"{source}: {advice}") from None
        raise


def _upgraded_net(source: Path) -> tuple[Message, list[str]]:
    from ..proto import upgrade_v0, upgrade_v1
    from ..proto.caffe_pb2 import NetParameter, SolverParameter
    from ..proto.upgrade import upgrade_net

    old = _read(source, NetParameter(), SolverParameter(), "this is a solver; add --solver")
    new = upgrade_net(old, os.fspath(source))
    changes = []
    if upgrade_v0.needs_upgrade(old):
        changes.append(f"V0 net: {len(old.layers)} layers became {len(new.layer)} of today's.")
    elif old.layers:
        changes.append(f"V1 net: {len(old.layers)} layers written as 'layer'.")
    if upgrade_v1.needs_data_upgrade(old):
        changes.append("Transformations of data layers moved to transform_param.")
    if old.input:
        shaped = bool(old.input_shape or old.input_dim)
        fate = "became an Input layer" if shaped else "had no shape and were left out"
        changes.append(f"Input fields ({', '.join(old.input)}) {fate}.")
    norms = [
        layer.name
        for layer in old.layer
        if layer.type == "BatchNorm"
        and len(layer.param) == 3
        and any(spec.lr_mult or spec.decay_mult for spec in layer.param)
    ]
    if norms:
        changes.append(f"BatchNorm learning rates set to 0: {', '.join(norms)}.")
    return new, changes


def _upgraded_solver(source: Path) -> tuple[Message, list[str]]:
    from ..proto.caffe_pb2 import NetParameter, SolverParameter
    from ..proto.upgrade import upgrade_solver

    old = _read(source, SolverParameter(), NetParameter(), "this is a net; leave out --solver")
    new = upgrade_solver(old, os.fspath(source))
    changed = old.HasField("solver_type")
    return new, [f"solver_type became type: {new.type!r}."] if changed else []


def _write(target: Path, message: Message, binary: bool) -> None:
    from ..proto.text import format_text

    with atomic_write(target) as stream:
        stream.write(message.SerializeToString() if binary else format_text(message).encode())
