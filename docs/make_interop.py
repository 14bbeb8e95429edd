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
from caffe.layers.layer import Layer
from caffe.layers.registry import registry
from tests.helpers.exported import examples
from tests.helpers.onnx_cases import cases

PAGE = Path(__file__).parent / "interop.md"

FIGURES = Path(__file__).parent / "imports.json"

RECORDED = Path(__file__).parent / "recorded.json"
"""Which layers PyTorch records."""

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


def is_recorded(layer: type[Layer]) -> bool:
    """Whether PyTorch records a layer of a type, by recording one."""
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
                return False
        return True
    raise LookupError(f"tests/helpers/exported.py has no net of {names[0]} that holds together")


def computes(name: str, layer: type[Layer]) -> bool:
    """Whether a layer makes something of what it is given, or has, and no files of it."""
    return name == "Parameter" or not (layer.on_blobs or layer.is_given)


def record() -> None:
    """Keep which layers PyTorch records; that takes longer than all else."""
    kinds = {layer for name, layer in registry().items() if computes(name, layer)}
    found = {layer: is_recorded(layer) for layer in kinds}
    kept = {name: found[layer] for name, layer in sorted(registry().items()) if layer in found}
    RECORDED.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def row(name: str, layer: type[Layer], recorded: dict[str, bool]) -> str:
    """Return the table's row for one layer type."""
    refused = next((r for n, r in REASONS.items() if registry()[n] is layer), None)
    onnx = "yes" if refused is None else f"no: {refused}"
    if name == "Python":
        return f"| {name} | proposal_layer alone | proposal_layer alone | no |"
    if computes(name, layer):
        is_there = "?" if name not in recorded else "yes" if recorded[name] else "no"
        return f"| {name} | {onnx} | yes | {is_there} |"
    if layer.bottoms == 0:
        return f"| {name} | an input | an input | an input |"
    return f"| {name} | {onnx} | no: it writes files | no |"


def table() -> str:
    """Return the table."""
    rules()
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    head = "| Layer | .onnx | module | .pt2, .py |\n|---|---|---|---|\n"
    rows = (row(name, layer, recorded) for name, layer in sorted(registry().items()))
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
    """Return what a reader's figure is in the table, or why there is none."""
    if figure is None:
        return "not run"
    return f"{figure:.1e}" if isinstance(figure, float | int) else figure


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
    record()
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
