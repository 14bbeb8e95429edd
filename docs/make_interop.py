"""Write the table of layers of docs/interop.md; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from caffe.export.onnx_model import rules
from caffe.export.operators.refused import REASONS
from caffe.layers.layer import Layer, registry

PAGE = Path(__file__).parent / "interop.md"

START, END = "<!-- layers: written by docs/make_interop.py -->", "<!-- end of layers -->"

BY_VALUES = {
    "BoxOutput", "CTCDecoder", "CTCGreedyDecoder", "CtcDecoder", "DetectionEvaluate",
    "DetectionOutput", "EvalDetection", "LabelsequenceAccuracy", "MultiBoxLoss", "Proposal",
    "RPROI", "Region", "RegionLoss", "Yolo", "YoloDetectionOutput", "Yolov3DetectionOutput",
    "DenseCRF", "MultiStageMeanfield", "ROIPooling", "ROIAlign", "CtcLoss", "CTCLoss",
    "WarpCTC", "WarpCTCLoss", "WarpCtc", "WarpCtcLoss", "BoxAnnotatorOHEM", "SmoothL1LossOHEM",
    "SoftmaxWithLossOHEM", "SegAccuracy",
}  # fmt: skip
"""Layers whose forward decides by values: PyTorch runs them, and cannot record them."""


def row(name: str, layer: type[Layer]) -> str:
    """Return the table's row for one layer type."""
    if layer.bottoms == 0 and (layer.on_blobs or layer.is_given) and name != "Parameter":
        return f"| {name} | an input | an input | an input |"
    refused = next((r for n, r in REASONS.items() if registry()[n] is layer), None)
    onnx = "yes" if refused is None else f"no: {refused}"
    if name == "Python":
        return f"| {name} | proposal_layer alone | proposal_layer alone | no |"
    runs = "no: it writes files" if layer.on_blobs and name != "Parameter" else "yes"
    recorded = "no" if name in BY_VALUES or runs != "yes" else "yes"
    return f"| {name} | {onnx} | {runs} | {recorded} |"


def table() -> str:
    """Return the table."""
    rules()
    head = "| Layer | .onnx | module | .pt2, .py |\n|---|---|---|---|\n"
    rows = (row(name, layer) for name, layer in sorted(registry().items()))
    return head + "\n".join(rows) + "\n"


def page() -> str:
    """Return the whole page, its table written anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, behind = rest.partition(END)
    return f"{before}{START}\n\n{table()}\n{END}{behind}"


def main() -> None:
    """Write the page, or with --check exit with 1 where it is not current."""
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is not current")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
