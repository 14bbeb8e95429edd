"""`caffe show`: what a net is made of, and what its weights hold."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError
from . import completion
from .nets import Phase, RunPython, is_onnx, outline_named_net
from .terminal import print_columns, progress

if TYPE_CHECKING:
    import numpy as np

    from ..structure.summary import Summary
    from ..weights.layer_weights import LayerWeights


@dataclass
class ParameterValues:
    """What a parameter blob of a file holds; numbers that are not finite are left out."""

    layer: str
    blob: int
    shape: list[int]
    fits: bool
    min: float | None
    max: float | None
    mean: float | None
    deviation: float | None
    not_finite: int


@dataclass
class Weights:
    """A weight file beside a net.

    Attributes
    ----------
    parameters : list of ParameterValues
        Of the layers that the net and the file both have.
    without : list of str
        Layers of the net with parameters for which the file has none.
    unused : list of str
        Layers of the file with parameters that the net has not.
    """

    file: str
    parameters: list[ParameterValues]
    without: list[str]
    unused: list[str]


def show(
    net: Annotated[
        str,
        typer.Argument(
            metavar="NET",
            help="A net's file, a model that `caffe zoo` lists, or an .onnx model.",
            autocompletion=completion.nets,
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="CAFFEMODEL",
            help="Show also what these weights hold, and which layers they are for.",
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Pictures at once.", show_default="the net's own")
    ] = None,
    phase: Annotated[
        Phase | None,
        typer.Option(help="Which of the net's phases.", show_default="TEST, if the net has it"),
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A stage that layers ask for.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLOB=N,C,H,W",
            help="The shape of an input or of a data layer's top; data that is not there is "
            "taken to be as the net's text says.",
        ),
    ] = None,
    run_python: RunPython = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a net layer by layer: shapes, parameters, multiply-adds, receptive fields, memory.

    The net is not run, and neither data nor weights are needed. FIELD is how many pixels of the
    picture (height x width if they differ) a value depends on, STRIDE how far apart these lie
    for neighbours, and OFFSET where they begin for the first one (below 0: in the padding).
    Multiply-adds are those with learned weights, for one picture. Of an .onnx model its own nodes
    are shown.
    """
    from ..structure.summary import summarize

    if is_onnx(net):
        summary = _summarize_onnx(net, read_shapes(shape), (weights, batch, phase, stage))
    else:
        outline = outline_named_net(net, phase, stage or (), batch, read_shapes(shape), run_python)
        summary = summarize(outline)
    found = None if weights is None else examine(weights, summary)
    if as_json:
        content: dict[str, Any] = summary.as_dict()
        if found is not None:
            content["weights"] = asdict(found)
        print(json.dumps(content))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(summary.text(width))
    if found is not None:
        print()
        _show_weights(found)


def _summarize_onnx(model: str, shapes: dict[str, list[int]], others: Sequence[object]) -> Summary:
    from ..imports.onnx_summary import summarize_onnx

    if any(others):
        raise typer.BadParameter("of these options an .onnx model takes --shape and --json alone")
    return summarize_onnx(model, shapes)


def read_shapes(texts: Sequence[str] | None) -> dict[str, list[int]]:
    """What the options --shape say, by the blobs' names."""
    shapes = {}
    for text in texts or ():
        match = re.fullmatch(r"(.+?)=(\d+(?:[,x]\d+)*)", text)
        if match is None:
            raise typer.BadParameter(f"--shape takes BLOB=N,C,H,W, not {text!r}")
        shapes[match[1]] = [int(dim) for dim in re.findall(r"\d+", match[2])]
    return shapes


def examine(path: Path, summary: Summary) -> Weights:
    """Compare a weight file with a net, and look at its values.

    Raises
    ------
    ParseError
        The file cannot be read.
    """
    from ..weights.files import read_weights

    stored = {layer.name: layer for layer in reversed(read_weights(path)) if layer.blobs}
    rows = {row.name: row for row in reversed(summary.rows)}
    names = [row.name for row in summary.rows if row.name in stored]
    values: list[ParameterValues] = []
    with progress("Reading", len(names), "layers") as (_, advance):
        for name in dict.fromkeys(names):
            values += _values(stored[name], rows[name].parameter_shapes)
            advance()
    without = [row.name for row in summary.rows if row.parameter_shapes and row.name not in stored]
    return Weights(str(path), values, without, [name for name in stored if name not in rows][::-1])


def _values(layer: LayerWeights, shapes: Sequence[tuple[int, ...]] | None) -> list[ParameterValues]:
    from ..net.trained import fits_shape

    found = []
    for i, blob in enumerate(layer.blobs):
        if blob is None:
            continue
        fits = shapes is None or (i < len(shapes) and fits_shape(blob, shapes[i]))
        found.append(ParameterValues(layer.name, i, list(blob.shape), fits, *_range(blob.data)))
    return found


def _range(
    values: np.ndarray,
) -> tuple[float | None, float | None, float | None, float | None, int]:
    import numpy as np

    finite = values
    if values.size and not math.isfinite(float(values.sum(dtype=np.float64))):
        finite = values[np.isfinite(values)]
    strange = int(values.size - finite.size)
    if not finite.size:
        return None, None, None, None, strange
    mean = float(finite.mean(dtype=np.float64))
    deviation = float(finite.std(dtype=np.float64))
    return float(finite.min()), float(finite.max()), mean, deviation, strange


def _show_weights(found: Weights) -> None:
    rows = [["PARAMETER", "SHAPE", "MIN", "MAX", "MEAN", "DEVIATION", ""]]
    for one in found.parameters:
        remarks = [] if one.fits else ["does not fit the net"]
        if one.not_finite:
            remarks.append(f"{one.not_finite:,} not finite")
        numbers = (one.min, one.max, one.mean, one.deviation)
        shown = ("" if n is None else f"{n: .4g}" for n in numbers)
        shape = " x ".join(map(str, one.shape))
        rows.append([f"{one.layer} {one.blob}", shape, *shown, ", ".join(remarks)])
    print(found.file)
    if found.parameters:
        print_columns(rows)
    else:
        raise CaffeError(f"{found.file}: none of the net's layers is in this file")
    if found.without:
        print(f"\nlayers without weights in the file: {', '.join(found.without)}")
    else:
        print("\nthe file has weights for every layer that has parameters")
    if found.unused:
        print(f"in the file, but not in the net: {', '.join(found.unused)}")
