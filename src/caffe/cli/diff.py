"""`caffe diff`: what differs between two nets, or between two weight files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError
from . import completion
from .nets import TEXT_ENDINGS, RunPython, is_onnx, read_named_net
from .terminal import complain, print_columns, progress

if TYPE_CHECKING:
    from ..structure.compare import NetDifference, Pair, WeightsDifference

DIFFERENT, TROUBLE = 1, 2


def diff(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A net's file, a model that `caffe zoo` lists, a weight file or an .onnx model.",
            autocompletion=completion.nets,
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B", help="Another of the same kind.", autocompletion=completion.nets
        ),
    ],
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="X", min=0, help="For weights: a difference up to this does not count."
        ),
    ] = 0.0,
    run_python: RunPython = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell what differs between two nets, or between two weight files.

    Nets of any age are compared in today's form: layers that only one has, fields and shapes
    that changed. An .onnx model is compared as the net that `caffe import` makes of it. Of
    weights, .caffemodel or HDF5: layers that only one has, shapes, and the largest difference in
    each blob, also as a part of the blob's largest number.

    Exit status: 0 if they are equal, 1 if they differ, 2 if there was trouble.
    """
    try:
        weights = [_holds_weights(name) for name in (first, second)]
        if weights[0] != weights[1]:
            kinds = ["weights" if one else "a net" for one in weights]
            raise CaffeError(
                f"{first} holds {kinds[0]}, {second} {kinds[1]}: give two nets, or two weight files"
            )
        if weights[0]:
            differ = _diff_weights(first, second, tolerance, as_json)
        else:
            differ = _diff_nets(first, second, as_json, run_python)
    except CaffeError as error:
        complain(str(error))
        raise typer.Exit(TROUBLE) from error
    if differ:
        raise typer.Exit(DIFFERENT)


def _holds_weights(name: str) -> bool:
    from ..proto import contents

    if name.endswith(TEXT_ENDINGS) or is_onnx(name) or not Path(name).is_file():
        return False
    return not contents.is_text(contents.open_bytes(name))


def _diff_nets(first: str, second: str, as_json: bool, run_python: bool) -> bool:
    from ..structure.compare import compare_nets

    found = compare_nets(read_named_net(first), read_named_net(second), run_python)
    if as_json:
        print(json.dumps({"equal": not found, **asdict(found)}))
    elif found:
        _show_nets(first, second, found)
    else:
        print("The nets are equal.")
    return bool(found)


def _show_nets(first: str, second: str, found: NetDifference) -> None:
    print(f"A: {first}\nB: {second}\n")
    for which, layers in (("A", found.only_first), ("B", found.only_second)):
        for name, kind in layers:
            print(f"only in {which}: {name} ({kind})")
    if found.only_first or found.only_second:
        print()
    if found.fields:
        print("the net itself")
        _show_values(found.fields)
    for layer in found.layers:
        print(f"{layer.name} ({layer.type})")
        _show_values(layer.fields)
        _show_values(layer.shapes, " x ")
    if found.reordered:
        print("layers that both have stand in another order")
    counts = (len(found.only_first), len(found.only_second), len(found.layers))
    print(f"\n{counts[0]} only in A, {counts[1]} only in B, {counts[2]} not alike")


def _show_values(values: dict[str, Pair], between: str = ", ") -> None:
    for name, pair in values.items():
        a, b = (_value(value, between) for value in pair)
        print(f"    {name}: {a} -> {b}")


def _value(value: Any, between: str) -> str:
    if value is None:
        return "(not given)"
    if isinstance(value, list):
        return between.join(map(str, value)) or "scalar"
    if isinstance(value, str):
        return json.dumps(value) if not value.isupper() else value
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _diff_weights(first: str, second: str, tolerance: float, as_json: bool) -> bool:
    from ..structure.compare import compare_weights
    from ..weights.files import read_weights

    count = sum(1 for layer in read_weights(first) if layer.blobs)
    with progress("Comparing", count, "layers") as (_, advance):
        found = compare_weights(first, second, tolerance, advance)
    if as_json:
        print(json.dumps({"equal": not found, **asdict(found)}))
    elif found:
        _show_weights(first, second, found)
    else:
        print("The weights are equal.")
    return bool(found)


def _show_weights(first: str, second: str, found: WeightsDifference) -> None:
    print(f"A: {first}\nB: {second}\n")
    for which, names in (("A", found.only_first), ("B", found.only_second)):
        for name in names:
            print(f"only in {which}: {name}")
    rows = [("PARAMETER", "SHAPE", "LARGEST DIFFERENCE", "RELATIVE")]
    for blob in found.blobs:
        a, b = ("(none)" if shape is None else " x ".join(map(str, shape)) for shape in blob.shapes)
        shape = a if a == b else f"{a} -> {b}"
        if blob.largest is not None and blob.relative is not None:
            rows.append(
                (f"{blob.layer} {blob.blob}", shape, f"{blob.largest:.4g}", f"{blob.relative:.2%}")
            )
        else:
            why = "not finite" if a == b else ""
            rows.append((f"{blob.layer} {blob.blob}", shape, why, ""))
    if found.blobs:
        if found.only_first or found.only_second:
            print()
        print_columns(rows)
    print(f"\n{len(found.blobs)} blobs differ, {found.equal} are equal")
