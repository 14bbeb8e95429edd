"""Convolutions of few channels in training, as first layers are, by kernels of our own.

A line of a window is one run of numbers, of all of its channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..compiled import caches
from ..compiled.blocks import PLAIN
from ..compiled.convolving import Convolving, Windows
from ..compiled.llvm import width_within
from ..compiled.rows import Pictures, Rows
from ..compiled.window_gradient import WindowGradient
from ..memory.blob import Shape
from ..pytorch import F

if TYPE_CHECKING:
    from torch import Tensor

    Pair = tuple[int, int]

FEW_CHANNELS = 4
"""How many channels are read, at most."""

MOST_NUMBERS = 2**12
"""How many numbers the weights are, at most: each is in the gradient's kernel's text."""

MOST_RESULTS = caches.second() // 2
"""How many bytes a picture's results take, at most: some pass over them for each few weights."""

LEAST = 2**22
"""How many multiply-adds are worth a kernel's compilation."""


def pays(x: Shape, weight: Shape, stride: Shape, pad: Shape) -> bool:
    """Tell whether kernels of our own are quicker for pictures and weights of shapes."""
    sizes = zip(x[2:], weight[2:], stride, pad, strict=True)
    places = math.prod((n + 2 * p - k) // s + 1 for n, k, s, p in sizes)
    return (
        weight[1] <= FEW_CHANNELS
        and math.prod(weight) <= MOST_NUMBERS
        and 4 * places * weight[0] <= MOST_RESULTS
        and x[0] * places * math.prod(weight) >= LEAST
        and bool(width_within(weight[0]))
    )


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, pad: Shape) -> Tensor:
    """Return the convolution of `x`; both lie channels last."""
    outputs, channels, height, width = weight.shape
    rows = _padded(x, pad)
    number, lines, across, _ = rows.shape
    results = (lines - height) // stride[0] + 1, (across - width) // stride[1] + 1
    # A line of pixels as one of numbers, of a single channel.
    kernel, steps = (height, width * channels), (stride[0], stride[1] * channels)
    windows = Windows(kernel, steps, (0, 0), (1, 1), results)
    pictures = Pictures.of(Rows(rows.data_ptr(), 1), (lines, across * channels))
    own = weight.permute(0, 2, 3, 1).reshape(outputs, 1, *kernel)
    biases = weight.new_zeros(outputs) if bias is None else bias
    convolving = Convolving(own, biases, windows, PLAIN, number, pictures.picture)
    found = x.new_empty(number, *results, outputs)
    convolving.job(pictures, Rows(found.data_ptr(), outputs)).run()
    return found.permute(0, 3, 1, 2)


def gradients(
    diff: Tensor, x: Tensor, weight: Shape, stride: Pair, pad: Shape
) -> tuple[Tensor, Tensor]:
    """Return the gradients by weights of a shape, and by the bias; all lie channels last."""
    outputs, channels, height, width = weight
    rows = _padded(x, pad)
    pictures = Pictures.of(Rows(rows.data_ptr(), channels), (rows.shape[1], rows.shape[2]))
    sums = WindowGradient(height, width * channels, outputs)
    of_weight, of_bias = sums(diff, pictures, stride)
    return of_weight.view(height, width, channels, outputs).permute(3, 2, 0, 1), of_bias


def _padded(x: Tensor, pad: Shape) -> Tensor:
    """Pictures, (number, height, width, channels), with zeros around them."""
    rows = x.permute(0, 2, 3, 1)
    if any(pad):
        rows = F.pad(rows, (0, 0, pad[1], pad[1], pad[0], pad[0]))
    return rows.contiguous()
