"""A layer whose bottoms get other shapes than it was made for."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from random import Random

import torch

from caffe.layers.layer import Layer, as_tensors
from caffe.layers.registry import create
from caffe.proto.caffe_pb2 import LayerParameter
from caffe.proto.text import parse_text

from . import other_layers  # noqa: F401 (its makers enter)
from .engines import Differs
from .layers import MAKERS, Shape, draw

TIMES = 4
"""How often the bottoms of a layer are given other shapes."""


def shapes(data: bytes, folder: Path) -> None:
    """Give a layer's bottoms other shapes: it refuses them, or makes tops of the shapes it says.

    Parameters
    ----------
    data : bytes
        What chance comes from.
    folder : Path
        Not used.

    Raises
    ------
    Differs
        A top has not as many numbers as the layer said.
    """
    rng = Random(data)
    case = draw(rng, rng.choice(list(MAKERS)))
    bottoms = [f"b{i}" for i in range(len(case.shapes))]
    text = case.text("layer", bottoms, [f"t{i}" for i in range(case.tops)])
    inside = text[text.index("{") + 1 : text.rindex("}")]
    layer = create(parse_text(inside, LayerParameter()))
    layer.setup(*case.shapes)
    layer.blobs[:] = [wanted.blob() for wanted in layer.parameters(*case.shapes)]
    layer.top_shapes(*case.shapes)
    for _ in range(TIMES):
        others = _other_shapes(rng, case.shapes)
        try:
            _check(layer, others)
        except Exception as error:
            # Which shapes they were is not to be seen from the layer's own words.
            if sys.version_info >= (3, 11):
                error.add_note(f"{text}of bottoms {case.shapes}, now {others}")
            raise


def _check(layer: Layer, bottoms: list[Shape]) -> None:
    tops = layer.top_shapes(*bottoms)
    inputs = [torch.randn(shape) for shape in bottoms]
    with torch.no_grad():
        found = as_tensors(layer.forward(*inputs, *(blob.data_tensor() for blob in layer.blobs)))
    # A layer that shares memory gives one result for all of its tops.
    for top, shape in zip(found, tops, strict=False):
        if top.numel() != math.prod(shape):
            raise Differs(f"a top of shape {tuple(top.shape)}, and not {shape}")


def _other_shapes(rng: Random, shapes: tuple[Shape, ...]) -> list[Shape]:
    """Return shapes with another length of an axis (of all of them, or of one), or other axes."""
    size = rng.choice((1, 2, 3, 5, 8))
    if rng.random() < 0.4:
        axis = rng.randrange(4)
        return [(*s[:axis], size, *s[axis + 1 :]) if axis < len(s) else s for s in shapes]
    others = list(shapes)
    which = rng.randrange(len(others))
    shape = others[which]
    how = rng.random()
    if how < 0.2:
        others[which] = (*shape, size)
    elif how < 0.4:
        others[which] = shape[:-1]
    elif shape:
        axis = rng.randrange(len(shape))
        others[which] = (*shape[:axis], size, *shape[axis + 1 :])
    return others
