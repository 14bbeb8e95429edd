"""`caffe diff`: what differs between two nets, or between two weight files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError
from . import completion
from .nets import TEXT_ENDINGS, RunPython, is_onnx, read_named_net
from .terminal import complain, print_columns, progress

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import NetParameter
    from ..structure.compare import NetDifference, Pair, Weights, WeightsDifference

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
    third: Annotated[
        str | None,
        typer.Argument(
            metavar="WEIGHTS",
            help="Where A is an .onnx model and B a net's text: that net's weights.",
            autocompletion=completion.nets,
        ),
    ] = None,
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
    that changed. Of weights, .caffemodel, HDF5 or .safetensors: layers that only one has, shapes,
    and the largest difference in each blob, also as a part of the blob's largest number. An .onnx
    model is both, as `caffe import` makes a net and weights of it: it is compared with another
    one, with a net, with weights, or with both.

    Exit status: 0 if they are equal, 1 if they differ, 2 if there was trouble.
    """
    try:
        sides = _sides(first, second, third)
        found = _Found(
            first, " ".join(filter(None, (second, third))), *_compare(*sides, tolerance, run_python)
        )
    except CaffeError as error:
        complain(str(error))
        raise typer.Exit(TROUBLE) from error
    found.show(as_json)
    if found:
        raise typer.Exit(DIFFERENT)


@dataclass
class _Side:
    """What stands on one side of a comparison."""

    name: str
    net: NetParameter | None = None
    weights: Weights | None = None

    @property
    def kind(self) -> str:
        """What errors call it."""
        return "weights" if self.net is None else "a net"


def _sides(first: str, second: str, third: str | None) -> tuple[_Side, _Side]:
    if third is None:
        return _side(first), _side(second)
    if not is_onnx(first) or _holds_weights(second) or not _holds_weights(third):
        raise CaffeError(
            "three files are an .onnx model, a net's text and its weights, in this order"
        )
    return _side(first), _Side(second, read_named_net(second), third)


def _side(name: str) -> _Side:
    if is_onnx(name):
        from ..imports import load

        made = load(name)
        return _Side(name, made.text, made.layer_weights())
    if _holds_weights(name):
        return _Side(name, weights=name)
    return _Side(name, read_named_net(name))


def _holds_weights(name: str) -> bool:
    from ..proto import contents

    if name.endswith(TEXT_ENDINGS) or is_onnx(name) or not Path(name).is_file():
        return False
    return not contents.is_text(contents.open_bytes(name))


def _compare(
    first: _Side, second: _Side, tolerance: float, run_python: bool
) -> tuple[NetDifference | None, WeightsDifference | None]:
    from ..structure.compare import compare_nets

    net = weights = None
    if first.net is not None and second.net is not None:
        net = compare_nets(first.net, second.net, run_python)
    if first.weights is not None and second.weights is not None:
        weights = _compare_weights(first.weights, second.weights, tolerance)
    if net is None and weights is None:
        raise CaffeError(
            f"{first.name} holds {first.kind}, {second.name} {second.kind}: give two nets, or two "
            "weight files"
        )
    return net, weights


def _compare_weights(first: Weights, second: Weights, tolerance: float) -> WeightsDifference:
    from ..structure.compare import compare_weights, layers_of

    ours = layers_of(first)
    with progress("Comparing", sum(1 for layer in ours if layer.blobs), "layers") as (_, advance):
        return compare_weights(ours, second, tolerance, advance)


@dataclass
class _Found:
    """What differs; None of what was not compared."""

    first: str
    second: str
    net: NetDifference | None
    weights: WeightsDifference | None

    def __bool__(self) -> bool:
        return bool(self.net) or bool(self.weights)

    def show(self, as_json: bool) -> None:
        """Print it."""
        if as_json:
            parts = {"net": _net_content(self.net), "weights": _weights_content(self.weights)}
            whole = [part for part in parts.values() if part is not None]
            print(json.dumps({"equal": not self, **(whole[0] if len(whole) == 1 else parts)}))
            return
        if self:
            print(f"A: {self.first}\nB: {self.second}\n")
        if self.net:
            _show_nets(self.net)
        elif self.net is not None:
            print("The nets are equal.")
        if self.net and self.weights is not None:
            print()
        if self.weights:
            _show_weights(self.weights)
        elif self.weights is not None:
            print("The weights are equal.")


def _net_content(found: NetDifference | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _weights_content(found: WeightsDifference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    content = asdict(found)
    # Whether all are equal is another thing.
    content["equal_blobs"] = content.pop("equal")
    return content


def _show_nets(found: NetDifference) -> None:
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


def _show_weights(found: WeightsDifference) -> None:
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
