"""Local response normalisation across channels as one kernel of a GPU.

It reads each number from the GPU's memory once, and computes in float32, where PyTorch's operations
go over them a dozen times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pytorch import torch
from . import kernel
from .kernel import Kernel, power_of_two

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

TILE, SIDE = 1024, 128
"""How many numbers one program has, and how many of them lie beside each other in memory."""

USUAL = 0.75
"""The exponent for which two roots cost less than a power."""


def takes(x: Tensor) -> bool:
    """Tell whether the kernel can have a tensor, see `caffe.gpu.kernel.takes`."""
    return kernel.takes(x, _is_right)


def _is_right(device: torch.device) -> bool:
    found = forward(torch.ones(1, 2, 1, 1, dtype=torch.float32, device=device), 1, 1.0, USUAL, 1.0)
    return bool((found - 2**-USUAL).abs().amax() < 1e-6)


def forward(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Return x * (k + alpha / size * sum of x**2 over `size` channels) ** -beta.

    Parameters
    ----------
    x : Tensor
        N x C x H x W, channels first or last.
    size : int
        How many channels are added up, around each.
    alpha, beta, k : float
        As above.
    """
    x = _dense(x)
    top = torch.empty_like(x)
    _launch(_forward, (x, top), size, alpha, beta, k)
    return top


def backward(diff: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Return the gradient by `x` of what `forward` returns, from that by its result."""
    x = _dense(x)
    diff = diff.contiguous(
        memory_format=torch.contiguous_format if x.is_contiguous() else torch.channels_last
    )
    gradient = torch.empty_like(x)
    _launch(_backward, (x, diff, gradient), size, alpha, beta, k)
    return gradient


def _dense(x: Tensor) -> Tensor:
    """The tensor with its places beside each other, or all channels of a place."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def _launch(
    which: Kernel, tensors: tuple[Tensor, ...], size: int, alpha: float, beta: float, k: float
) -> None:
    number, channels, height, width = tensors[0].shape
    places = height * width
    if not tensors[0].numel():
        return
    is_first = tensors[0].is_contiguous()
    near = min(SIDE, power_of_two(places if is_first else channels))
    far = min(TILE // near, power_of_two(channels if is_first else places))
    rows, columns = (far, near) if is_first else (near, far)
    which.launch(
        number * -(-channels // rows) * -(-places // columns),
        *tensors,
        channels,
        places,
        *((places, 1) if is_first else (1, channels)),
        alpha / size,
        beta,
        k,
        size=size,
        is_usual=beta == USUAL,
        rows=rows,
        columns=columns,
    )


@Kernel
def _tile(
    channels: tl.tensor, places: tl.tensor, channel_stride: tl.tensor, place_stride: tl.tensor,
    rows: tl.constexpr, columns: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """This program's channels, where its numbers are, and which of them there are."""
    across = (places + columns - 1) // columns
    down = (channels + rows - 1) // rows
    program = tl.program_id(0)
    picture = (program // (across * down)).to(tl.int64) * channels * places
    channel = (program // across % down) * rows + tl.arange(0, rows)[:, None]
    place = (program % across) * columns + tl.arange(0, columns)[None, :]
    at = picture + channel * channel_stride + place * place_stride
    return channel, at, (channel < channels) & (place < places)


@Kernel
def _base(
    x: tl.tensor, channel: tl.tensor, at: tl.tensor, is_inside: tl.tensor, channels: tl.tensor,
    stride: tl.tensor, share: tl.tensor, k: tl.tensor, size: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """k + alpha / n * sum of x**2 over n channels around `channel`, whose numbers are `at`."""
    total = tl.zeros(at.shape, tl.float32)
    for i in tl.static_range(size):
        away = i - size // 2
        is_there = is_inside & (channel + away >= 0) & (channel + away < channels)
        value = tl.load(x + at + away * stride, mask=is_there, other=0.0).to(tl.float32)
        total += value * value
    return k + share * total


@Kernel
def _factor(base: tl.tensor, beta: tl.tensor, is_usual: tl.constexpr) -> tl.tensor:
    """base ** -beta."""
    factor = tl.exp2(-beta * tl.log2(base))
    if is_usual:
        root = 1.0 / tl.sqrt(base)
        factor = root * tl.sqrt(root)
    return factor


@Kernel
def _forward(
    x: tl.tensor, top: tl.tensor, channels: tl.tensor, places: tl.tensor, channel_stride: tl.tensor,
    place_stride: tl.tensor, share: tl.tensor, beta: tl.tensor, k: tl.tensor,
    size: tl.constexpr, is_usual: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
) -> None:  # fmt: skip
    channel, at, is_inside = _tile(channels, places, channel_stride, place_stride, rows, columns)
    base = _base(x, channel, at, is_inside, channels, channel_stride, share, k, size)
    value = tl.load(x + at, mask=is_inside, other=0.0).to(tl.float32)
    result = value * _factor(base, beta, is_usual)
    tl.store(top + at, result.to(top.dtype.element_ty), mask=is_inside)


@Kernel
def _backward(
    x: tl.tensor, diff: tl.tensor, gradient: tl.tensor, channels: tl.tensor, places: tl.tensor,
    channel_stride: tl.tensor, place_stride: tl.tensor, share: tl.tensor, beta: tl.tensor,
    k: tl.tensor,
    size: tl.constexpr, is_usual: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
) -> None:  # fmt: skip
    channel, at, is_inside = _tile(channels, places, channel_stride, place_stride, rows, columns)
    # With s the base: by x[j], d[j] s[j]^-b - 2 a b / n x[j] sum of (d x s^(-b - 1)) nearby.
    nearby = tl.zeros(at.shape, tl.float32)
    for i in tl.static_range(size):
        away = i - size // 2
        beside = at + away * channel_stride
        is_there = is_inside & (channel + away >= 0) & (channel + away < channels)
        base = _base(x, channel + away, beside, is_there, channels, channel_stride, share, k, size)
        value = tl.load(x + beside, mask=is_there, other=0.0).to(tl.float32)
        error = tl.load(diff + beside, mask=is_there, other=0.0).to(tl.float32)
        nearby += tl.where(is_there, error * value * _factor(base, beta, is_usual) / base, 0.0)
    base = _base(x, channel, at, is_inside, channels, channel_stride, share, k, size)
    value = tl.load(x + at, mask=is_inside, other=0.0).to(tl.float32)
    error = tl.load(diff + at, mask=is_inside, other=0.0).to(tl.float32)
    result = error * _factor(base, beta, is_usual) - 2 * share * beta * value * nearby
    tl.store(gradient + at, result.to(gradient.dtype.element_ty), mask=is_inside)
