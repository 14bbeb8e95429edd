"""Write the tables of layers and operators of docs/interop.md; ``--check`` only compares."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import caffe
from caffe.errors import CaffeError
from caffe.export.onnx_model import rules
from caffe.export.operators.refused import REASONS
from caffe.imports import TARGETS, load
from caffe.layers.layer import Layer, registry
from tests.helpers.exported import examples
from tests.helpers.onnx_cases import cases

PAGE = Path(__file__).parent / "interop.md"

FIGURES = Path(__file__).parent / "imports.json"

IMPORTS = "<!-- imports: written by docs/make_interop.py -->", "<!-- end of imports -->"

READERS = {
    "recaffe": "Recaffe",
    "caffe": "Caffe",
    "opencv": "OpenCV",
    "mnn": "MNN",
    "rknn": "RKNN (16 bits)",
    "tpu_mlir": "TPU-MLIR",
    "float32": "float32's own",
}
"""The columns, by what the figures call them."""

START, END = "<!-- layers: written by docs/make_interop.py -->", "<!-- end of layers -->"

OPERATORS = "<!-- operators: written by docs/make_interop.py -->", "<!-- end of operators -->"

NOTHING = ("Cast", "CastLike", "Dropout", "Identity")
"""Operators that need no layer."""


def recorded(layer: type[Layer]) -> str:
    """Return whether PyTorch records a layer of a type, by recording one."""
    names = [name for name, kind in registry().items() if kind is layer]
    for text in (text for name in names for text in examples(name)):
        try:
            net = caffe.Net(text, caffe.TEST)
        except CaffeError:
            continue
        if net.outputs:
            try:
                caffe.export.program(net)
            except CaffeError:
                return "no"
        return "yes"
    raise LookupError(f"tests/helpers/exported.py has no net of {names[0]} that holds together")


def row(name: str, layer: type[Layer]) -> str:
    """Return the table's row for one layer type."""
    if layer.bottoms == 0 and (layer.on_blobs or layer.is_given) and name != "Parameter":
        return f"| {name} | an input | an input | an input |"
    refused = next((r for n, r in REASONS.items() if registry()[n] is layer), None)
    onnx = "yes" if refused is None else f"no: {refused}"
    if name == "Python":
        return f"| {name} | proposal_layer alone | proposal_layer alone | no |"
    runs = "no: it writes files" if layer.on_blobs and name != "Parameter" else "yes"
    return f"| {name} | {onnx} | {runs} | {'no' if runs != 'yes' else recorded(layer)} |"


def table() -> str:
    """Return the table."""
    rules()
    head = "| Layer | .onnx | module | .pt2, .py |\n|---|---|---|---|\n"
    rows = (row(name, layer) for name, layer in sorted(registry().items()))
    return head + "\n".join(rows) + "\n"


def operator_row(kind: str, model: object) -> str:
    """Return the table's row for one of ONNX's operators."""
    cells = []
    for target in TARGETS:
        try:
            made = load(model, target=target)
        except CaffeError as error:
            lacks = re.search(r"has no layer (\w+)", str(error))
            cells.append(f"no {lacks[1]}" if lacks else "no")
            continue
        cells.append("yes")
        if target == "bvlc":
            layers = dict.fromkeys(x.type for x in made.text.layer if x.type != "Input")
    said = "" if kind in NOTHING else ", ".join(layers)
    return f"| {kind} | {said} | {' | '.join(cells)} |"


def operators() -> str:
    """Return the table of operators."""
    head = f"| Operator | In the original's layers | {' | '.join(TARGETS)} |\n"
    head += "|---" * (len(TARGETS) + 2) + "|\n"
    return head + "\n".join(operator_row(*case) for case in sorted(cases().items())) + "\n"


def figure_cell(figure: float | str | None) -> str:
    """Return what a reader's figure is in the table; a refusal without the model's place."""
    if figure is None:
        return ""
    return f"{figure:.1e}" if isinstance(figure, float | int) else "refused"


def figures() -> str:
    """Return the table of imported nets, from the figures that benchmarks/imports.py keeps."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8"))
    head = f"| Net | {' | '.join(READERS.values())} |\n" + "|---" * (len(READERS) + 1) + "|\n"
    rows = (
        f"| {name} | {' | '.join(figure_cell(found.get(reader)) for reader in READERS)} |"
        for name, found in sorted(kept.items())
    )
    return head + "\n".join(rows) + "\n"


def put(text: str, marks: tuple[str, str], table: str) -> str:
    """Return a text with a table put between two marks."""
    before, _, rest = text.partition(marks[0])
    _, _, behind = rest.partition(marks[1])
    return f"{before}{marks[0]}\n\n{table}\n{marks[1]}{behind}"


def page() -> str:
    """Return the whole page, its tables written anew."""
    text = put(PAGE.read_text(encoding="utf-8"), (START, END), table())
    return put(put(text, OPERATORS, operators()), IMPORTS, figures())


def main() -> None:
    """Write the page, or with --check exit with 1 where it is not current."""
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is not current")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
