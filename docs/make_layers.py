"""Write docs/layers.md from the register of layers; ``--check`` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from caffe.layers.layer import Layer, registry
from caffe.proto.caffe_pb2 import LayerParameter

PAGE = Path(__file__).parent / "layers.md"

HEAD = """# The layers

Every layer type that a net may name, with the fields of its parameter message. All of them run on
the CPU and the GPU alike (data sources read on the CPU), forward and, where a gradient is named,
backward. This page is written by `python docs/make_layers.py` from the layers themselves.

| Layer | What it computes | Parameters | Gradient | Beside the original |
|---|---|---|---|---|
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


def row(name: str, layer: type[Layer]) -> str:
    """Return the table's row for one layer type."""
    summary = (layer.__doc__ or "").strip().splitlines()[0].rstrip(".")
    fields = LayerParameter.DESCRIPTOR.fields_by_name
    names = [f.name for f in fields[layer.message].message_type.fields] if layer.message else []
    shown = [name, summary, ", ".join(f"`{n}`" for n in names), gradient(layer), layer.differences]
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
