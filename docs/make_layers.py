"""Write docs/layers.md from the register of layers; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from caffe.engine.plan import plan  # noqa: F401 (its operations enter)
from caffe.engine.plan.operation import operation
from caffe.layers.layer import Layer
from caffe.layers.registry import registry
from caffe.layers.translation import openvino
from caffe.proto.caffe_pb2 import LayerParameter

PAGE = Path(__file__).parent / "layers.md"

HEAD = """# The layers

Every layer type that a net may name, with the fields of its parameter message. All of them run on
the CPU and the GPU alike (data sources read on the CPU), forward and, where a gradient is named,
backward. This page is written by `python docs/make_layers.py` from the layers themselves.

"Quicker" tells what a net that needs no gradients may have run instead of the layer's own forward:
an operation of the plan that is quicker, being joined with the layer before it, or OpenVINO.
What OpenVINO is given, ONNX Runtime is, too.

| Layer | What it computes | Parameters | Gradient | Quicker | Beside the original |
|---|---|---|---|---|---|
"""


def gradient(layer: type[Layer]) -> str:
    """Say for what the layer has a gradient."""
    if layer.bottoms == 0:
        return "source"
    if not layer.has_gradient:
        return "none"
    if layer.bottoms == 1 and 0 in layer.no_gradient_for:
        return "by its parameters"
    return "yes"


def quicker(layer: type[Layer]) -> str:
    """Say what can run instead of the layer's own forward."""
    joins = layer.activation is not Layer.activation or layer.is_affine is not Layer.is_affine
    ways = {
        "operation": layer.computes_as in operation.kinds(),
        "joined": joins,
        "nothing to do": layer.passes_on is not Layer.passes_on or bool(layer.shares),
        "OpenVINO": layer.computes_as in openvino.kinds() or layer.is_affine is not Layer.is_affine,
    }
    return ", ".join(way for way, is_there in ways.items() if is_there)


def row(name: str, layer: type[Layer]) -> str:
    """Return the table's row for one layer type."""
    summary = (layer.__doc__ or "").strip().splitlines()[0].rstrip(".")
    fields = LayerParameter.DESCRIPTOR.fields_by_name
    names = [f.name for f in fields[layer.message].message_type.fields] if layer.message else []
    shown = [name, summary, ", ".join(f"`{n}`" for n in names), gradient(layer), quicker(layer)]
    shown.append(layer.differences)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in shown) + " |"


def page() -> str:
    """Return the whole page."""
    return HEAD + "\n".join(row(name, layer) for name, layer in sorted(registry().items())) + "\n"


def main() -> None:
    """Write the page, or with --check exit with 1 where it is not current."""
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is not current")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
