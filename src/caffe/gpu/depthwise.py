"""Convolutions of each channel by itself, channels last, with what follows them in the same pass.

cuDNN brings such pictures into another order and back for them. A thread has some results beside
each other, which share what it loads and converts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..pytorch import torch
from . import kernel, windows
from .finishing import activated as _activated
from .finishing import kinds
from .kernel import Kernel
from .windows import place as _place

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

BESIDE = 4
"""How many results beside each other a thread has: the kernel's text names each."""

MOST = 16
"""How wide a kernel may be, whose steps are written one by one."""

Sizes = Sequence[int]
"""Of height and width."""


def takes(x: Tensor, kernel_size: Sizes) -> bool:
    """Tell whether the kernel can have a tensor, see `caffe.gpu.kernel.takes`."""
    return (
        kernel_size[1] <= MOST
        and windows.fits(x)
        and x.is_contiguous(memory_format=torch.channels_last)
        and kernel.takes(x, _is_right)
    )


def _is_right(device: torch.device) -> bool:
    x = torch.arange(10, dtype=torch.float32, device=device).view(1, 1, 1, 10)
    weight = turned(torch.ones(1, 1, 1, 3, dtype=torch.float32, device=device))
    bias = torch.ones(1, dtype=torch.float32, device=device)
    found = forward(x, weight, bias, (1, 1), (0, 1), (1, 1), most=20.0)
    return found.flatten().tolist() == [2, 4, 7, 10, 13, 16, 19, 20, 20, 18]


def turned(weight: Tensor) -> Tensor:
    """A convolution's weights, C x 1 x h x w, with channels last."""
    return weight[:, 0].permute(1, 2, 0).contiguous()


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sizes,
    pad: Sizes,
    dilation: Sizes,
    slope: float = 1.0,
    least: float = -math.inf,
    most: float = math.inf,
) -> Tensor:
    """Return the convolution, activated.

    Parameters
    ----------
    x : Tensor
        N x C x H x W, channels last.
    weight : Tensor
        As `turned` makes them.
    bias : Tensor
        C numbers.
    stride, pad, dilation : sequence of int
        Of height and width.
    slope, least, most : float
        As `caffe.layers.layer.Activation` has them.
    """
    number, channels, height, width = x.shape
    high, wide = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x.shape[2:], pad, dilation, weight.shape, stride, strict=False)
    )
    shape = (number, channels, high, wide)
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    vector = windows.vector_of(x, channels)
    vectors, across = channels // vector, -(-wide // BESIDE)
    programs, block = windows.shared_out(number, vectors, high, across)
    _forward.launch(
        programs,
        *(x, weight, bias, y, slope, least, most, height, width, high, wide, vectors),
        *(stride[0], *pad, dilation[0]),
        kernel_height=weight.shape[0],
        kernel_width=weight.shape[1],
        across=stride[1],
        apart=dilation[1],
        **kinds(slope, least, most),
        size=vector,
        **block,
    )
    return y


# Triton's, see `caffe.gpu.kernel`.

SIZES = (
    "height", "width", "top_height", "top_width", "vectors", "down", "pad_height", "pad_width",
    "below",
)  # fmt: skip


@Kernel
def _value(
    x: tl.tensor, at: tl.tensor, column: tl.tensor, width: tl.tensor, is_row: tl.tensor,
    step: tl.tensor,
) -> tl.tensor:  # fmt: skip
    is_there = is_row & (column >= 0) & (column < width)
    return tl.load(x + at + column * step, mask=is_there, other=0.0).to(tl.float32)


@partial(Kernel, unspecialized=SIZES)
def _forward(
    x: tl.tensor, weight: tl.tensor, bias: tl.tensor, y: tl.tensor, slope: tl.tensor,
    least: tl.tensor, most: tl.tensor, height: tl.tensor, width: tl.tensor,
    top_height: tl.tensor, top_width: tl.tensor, vectors: tl.tensor, down: tl.tensor,
    pad_height: tl.tensor, pad_width: tl.tensor, below: tl.tensor,
    kernel_height: tl.constexpr, kernel_width: tl.constexpr, across: tl.constexpr,
    apart: tl.constexpr, is_relu: tl.constexpr, has_slope: tl.constexpr, has_bounds: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr, size: tl.constexpr,
) -> None:  # fmt: skip
    groups = (top_width + 3) // 4
    picture, row, group, vector = _place(vectors, top_height, groups, rows, columns, depth)
    is_inside = (row < top_height) & (group < groups) & (vector < vectors)
    number = tl.arange(0, size)[None, :]
    channel = vector * size + number
    step = vectors * size
    x += picture * height * width * step
    left = group * (4 * across) - pad_width
    added = tl.load(bias + channel, mask=vector < vectors, other=0.0).to(tl.float32)
    sum0 = added
    sum1 = added
    sum2 = added
    sum3 = added
    for i in range(kernel_height):
        above = row * down - pad_height + i * below
        is_row = is_inside & (above >= 0) & (above < height)
        at = above * width * step + channel
        weights = weight + i * kernel_width * step + channel
        if across == 1 and apart == 1:
            # What one place's weight has met meets the next one's for its neighbour.
            value0 = _value(x, at, left, width, is_row, step)
            value1 = _value(x, at, left + 1, width, is_row, step)
            value2 = _value(x, at, left + 2, width, is_row, step)
            for j in tl.static_range(kernel_width):
                value3 = _value(x, at, left + 3 + j, width, is_row, step)
                factor = tl.load(weights + j * step, mask=vector < vectors, other=0.0)
                factor = factor.to(tl.float32)
                sum0 += value0 * factor
                sum1 += value1 * factor
                sum2 += value2 * factor
                sum3 += value3 * factor
                value0 = value1
                value1 = value2
                value2 = value3
        else:
            for j in tl.static_range(kernel_width):
                factor = tl.load(weights + j * step, mask=vector < vectors, other=0.0)
                factor = factor.to(tl.float32)
                first = left + j * apart
                sum0 += _value(x, at, first, width, is_row, step) * factor
                sum1 += _value(x, at, first + across, width, is_row, step) * factor
                sum2 += _value(x, at, first + 2 * across, width, is_row, step) * factor
                sum3 += _value(x, at, first + 3 * across, width, is_row, step) * factor
    y += picture * top_height * top_width * step
    first = group * 4
    to = (row * top_width + first) * step + channel
    kind = y.dtype.element_ty
    sum0 = _activated(sum0, slope, least, most, is_relu, has_slope, has_bounds)
    sum1 = _activated(sum1, slope, least, most, is_relu, has_slope, has_bounds)
    sum2 = _activated(sum2, slope, least, most, is_relu, has_slope, has_bounds)
    sum3 = _activated(sum3, slope, least, most, is_relu, has_slope, has_bounds)
    tl.store(y + to, sum0.to(kind), mask=is_inside)
    tl.store(y + to + step, sum1.to(kind), mask=is_inside & (first + 1 < top_width))
    tl.store(y + to + 2 * step, sum2.to(kind), mask=is_inside & (first + 2 < top_width))
    tl.store(y + to + 3 * step, sum3.to(kind), mask=is_inside & (first + 3 < top_width))
