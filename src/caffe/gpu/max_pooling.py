"""Maximum pooling without the maxima's places, which PyTorch's kernel writes whoever wants them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..pytorch import torch
from . import kernel, windows
from .kernel import Kernel
from .windows import place as _place

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

UNROLLED = 32
"""For how many places at most a window's loads are written one by one."""

Pair = tuple[int, int]


def takes(x: Tensor) -> bool:
    """Tell whether the kernel can have a tensor, see `caffe.gpu.kernel.takes`."""
    return windows.fits(x) and kernel.takes(x, _is_right)


def _is_right(device: torch.device) -> bool:
    x = torch.tensor([-1.0, torch.nan, 2.0, -torch.inf], device=device).view(1, 1, 2, 2)
    found = forward(x, (2, 2), (1, 1), (1, 1), (3, 3), -3.0)
    return found.flatten().tolist() == [-1, -1, -3, 2, 2, -3, 2, 2, -3]


def forward(x: Tensor, kernel: Pair, stride: Pair, pad: Pair, size: Pair, least: float) -> Tensor:
    """Return each window's largest number, of those above `least`.

    Parameters
    ----------
    x : Tensor
        N x C x H x W, channels first or last.
    kernel, stride, pad : tuple of int
        Of height and width.
    size : tuple of int
        How many windows there are below and beside each other.
    least : float
        What a window gives without any larger number, that is also one of NaN.
    """
    number, channels, height, width = x.shape
    is_last = x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if is_last else torch.contiguous_format
    x = x.contiguous(memory_format=layout)
    shape = (number, channels, *size)
    top = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    if not is_last:
        number, channels = number * channels, 1
    vector = windows.vector_of(x, channels)
    vectors = channels // vector
    programs, block = windows.shared_out(number, vectors, *size)
    _forward.launch(
        programs,
        *(x, top, least, height, width, *size, vectors, *stride, *pad),
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        is_unrolled=kernel[0] * kernel[1] <= UNROLLED,
        size=vector,
        **block,
    )
    return top


# Triton's, see `caffe.gpu.kernel`.

SIZES = (
    "height", "width", "top_height", "top_width", "vectors",
    "down", "across", "pad_height", "pad_width",
)  # fmt: skip


@Kernel
def _larger(
    best: tl.tensor, x: tl.tensor, at: tl.tensor, row: tl.tensor, column: tl.tensor,
    height: tl.tensor, width: tl.tensor, least: tl.tensor,
) -> tl.tensor:  # fmt: skip
    is_there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    value = tl.load(x + at, mask=is_there, other=least).to(best.dtype)
    # Of a number and what is none this is the number.
    return tl.maximum(best, value)


@partial(Kernel, unspecialized=SIZES)
def _forward(
    x: tl.tensor, top: tl.tensor, least: tl.tensor, height: tl.tensor, width: tl.tensor,
    top_height: tl.tensor, top_width: tl.tensor, vectors: tl.tensor, down: tl.tensor,
    across: tl.tensor, pad_height: tl.tensor, pad_width: tl.tensor,
    kernel_height: tl.constexpr, kernel_width: tl.constexpr, is_unrolled: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr, size: tl.constexpr,
) -> None:  # fmt: skip
    picture, row, column, vector = _place(vectors, top_height, top_width, rows, columns, depth)
    is_inside = (row < top_height) & (column < top_width) & (vector < vectors)
    number = tl.arange(0, size)[None, :]
    top += picture * top_height * top_width * vectors * size
    to = ((row * top_width + column) * vectors + vector) * size + number
    x += picture * height * width * vectors * size
    # Threads outside have no place at all.
    row = tl.where(is_inside, row * down - pad_height, height)
    column = column * across - pad_width
    at = ((row * width + column) * vectors + vector) * size + number
    best = tl.zeros(at.shape, tl.float32) + least
    if x.dtype.element_ty == tl.float16:
        # Two of them are compared at once.
        best = best.to(tl.float16)
    if is_unrolled:
        for i in tl.static_range(kernel_height):
            for j in tl.static_range(kernel_width):
                there = at + (i * width + j) * vectors * size
                best = _larger(best, x, there, row + i, column + j, height, width, least)
    else:
        for i in range(kernel_height):
            for j in range(kernel_width):
                there = at + (i * width + j) * vectors * size
                best = _larger(best, x, there, row + i, column + j, height, width, least)
    tl.store(top + to, best.to(top.dtype.element_ty), mask=is_inside)
