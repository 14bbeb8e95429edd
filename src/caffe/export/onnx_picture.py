"""How pictures go into a net, as a part of its ONNX model."""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..io.recipe import PictureRecipe, fit_mean
from ..memory.blob import Shape
from .onnx_graph import OnnxGraph, Value

WHITE = 255.0


def prepared(graph: OnnxGraph, x: Value, shape: Shape, recipe: PictureRecipe) -> Value:
    """Turn pictures (N, C, H, W), RGB or grey, 0 to 255, into what the net's input holds.

    They have the net's own size: to bring them to it is left to whoever reads them.

    Raises
    ------
    ArgumentError
        The recipe's order of channels is for another number of them.
    """
    swap = recipe.channel_swap
    # Grey pictures have no order.
    if swap is not None and shape[1] > 1:
        if sorted(swap) != list(range(shape[1])):
            told = ", ".join(map(str, swap))
            raise ArgumentError(f"{told} is no order of the {shape[1]} channels that the net takes")
        x = graph.op("Gather", x, graph.constant(list(swap)), axis=1)
    raw = 1.0 if recipe.raw_scale is None else np.asarray(recipe.raw_scale, np.float64)
    factor = np.asarray(raw, np.float64) / WHITE
    if not (factor == 1).all():
        x = graph.op("Mul", x, graph.constant(np.float32(factor)))
    if recipe.mean is not None:
        mean = fit_mean(recipe.mean, shape[1:], "pictures")
        x = graph.op("Sub", x, graph.constant(mean))
    return x if recipe.input_scale is None else graph.times(x, recipe.input_scale)
