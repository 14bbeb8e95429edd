"""Winograd's algorithm in training, where weights are new each time and nothing is tried out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..compiled import cutting, tiled_in_training
from ..memory.blob import Shape
from .winograd import (
    CHANGING,
    CHANGING_COMPILED,
    Tiles,
    Winograd,
    algorithm,
    are_compiled,
    as_tensors,
    matrices,
    saves,
    tile_for,
)
from .winograd_operators import OtherForm, changed

if TYPE_CHECKING:
    from torch import Tensor

LEAST_TRAINED = 2**26
"""How many multiply-adds a convolution must have to be trained so: it rounds ten times as much."""


def pays(shape: Shape, weight: Shape, pad: Shape, group: int, slower: float = 1.0) -> bool:
    """Tell whether to use the algorithm where nothing is tried out, for inputs of a shape.

    Parameters
    ----------
    shape, weight : tuple of int
        The inputs', and the weights'.
    pad : tuple of int
        Down and across.
    group : int
        How many groups of channels there are.
    slower : float
        How many times a convolution's time the direct way takes.
    """
    number, channels, height, width = shape
    size = weight[2:]
    outputs = height + 2 * pad[0] - size[0] + 1, width + 2 * pad[1] - size[1] + 1
    direct = number * math.prod(outputs) * math.prod(weight)
    if min(outputs) < 1 or direct < LEAST_TRAINED or not saves(size, weight, outputs, group):
        return False
    m = tile_for(size[0], outputs)
    places = (m + size[0] - 1) ** 2
    tiles = number * math.ceil(outputs[0] / m) * math.ceil(outputs[1] / m)
    pairs = math.prod(weight[:2])
    products = places * tiles * pairs
    numbers = places * (tiles * (channels + weight[0]) + pairs)
    changing = CHANGING_COMPILED if are_compiled(channels, weight[0]) else CHANGING
    return products + changing * numbers <= slower * direct


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, pad: Shape, group: int) -> Tensor:
    """Return the convolution of `x`, which lies channels last, where it is not done again."""
    cut = Tiles(tuple(x.shape), weight.shape[-1], pad, len(weight)).cut
    if not are_compiled(x.shape[1], len(weight)):
        return Winograd(weight, bias, tuple(x.shape), pad, group)(x)
    own = algorithm(cut.m, weight.shape[-1])
    return tiled_in_training.convolved(own, cut, x, weight, bias, group)


def gradient(diff: Tensor, weight: Tensor, pad: Shape, group: int) -> Tensor:
    """Return the gradient by what a convolution has read: one of the kernels turned around.

    `pad` is what the gradient by the results has around it. The way back through the convolution's
    own tiles is taken where these are fewer.
    """
    outputs, size = weight.shape[1] * group, weight.shape[-1]
    if not are_compiled(diff.shape[1], outputs):
        turned = weight.flip(2, 3).unflatten(0, (group, -1)).transpose(1, 2).flatten(0, 1)
        return convolved(diff, turned, None, pad, group)
    back = Tiles(tuple(diff.shape), size, pad, outputs)
    own = tuple(size - 1 - p for p in pad)
    there = Tiles((len(diff), outputs, *back.outputs), size, own, len(weight))
    is_small = _places(there) * (outputs + len(weight)) <= cutting.MOST_PIECE
    if is_small and _places(there) < _places(back):
        return tiled_in_training.gradient(algorithm(there.m, size), there.cut, diff, weight, group)
    way = algorithm(back.m, size)
    return tiled_in_training.convolved(way, back.cut, diff, weight, None, group, is_turned=True)


def _places(work: Tiles) -> int:
    """How many places the tiles of a picture have."""
    return work.across**2 * math.prod(work.grid)


def weight_gradient(diff: Tensor, x: Tensor, size: int, pad: Shape, group: int) -> Tensor:
    """Return the gradient by a convolution's weights, whose kernels are size x size.

    It is a convolution, too, of each tile that was read with the one that was made of it: tiles of
    m results have kernels of m places, and size x size results, which are added up.
    """
    work = Tiles(tuple(x.shape), size, pad, diff.shape[1])
    if are_compiled(x.shape[1] // group, diff.shape[1] // group):
        return tiled_in_training.weight_gradient(algorithm(size, work.m), work.cut, diff, x, group)
    return _by_operators(work, diff, x, size, group)


def _by_operators(work: Tiles, diff: Tensor, x: Tensor, size: int, group: int) -> Tensor:
    results, kernels, inputs = as_tensors(matrices(size, work.m), x.dtype)
    read, made = work.of_inputs(x), work.of_outputs(diff)
    theirs, ours = ((x.new_empty(work.numbers), x.new_empty(work.numbers)) for _ in range(2))
    inputs_of_group, outputs_of_group = x.shape[1] // group, diff.shape[1] // group
    sums = x.new_zeros(group, work.across**2, outputs_of_group, inputs_of_group)
    ways: dict[Shape, tuple[OtherForm, OtherForm]] = {}
    for piece in work.pieces():
        places = tuple(read[piece].shape[:3])
        if places not in ways:
            ways[places] = (
                OtherForm(inputs, (*places, x.shape[1]), theirs, by_place=True),
                OtherForm(kernels, (*places, diff.shape[1]), ours, by_place=True),
            )
        xs, ys = ways[places]
        xs(read[piece])
        ys(made[piece])
        for total, part, other in zip(
            sums, xs.result.chunk(group, 2), ys.result.chunk(group, 2), strict=True
        ):
            total.baddbmm_(other.transpose(1, 2), part)
    products = sums.transpose(0, 1).reshape(work.across, work.across, -1)
    found = changed(results, products)
    return found.view(size, size, diff.shape[1], inputs_of_group).permute(2, 3, 0, 1)
