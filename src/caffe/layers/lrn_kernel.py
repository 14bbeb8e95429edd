"""Local response normalisation across channels as one kernel of a GPU, written in Triton.

Triton comes with PyTorch's wheels for GPUs, and is imported when the kernel is first wanted. Where
there is none, or it cannot compile (it needs a C compiler), LRN runs as a dozen of PyTorch's own
operations. The kernel reads each number from the GPU's memory once, and computes in float32.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

from ..proto.caffe_pb2 import LRNParameter
from ..pytorch import torch

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor
else:
    tl = None

TILE, SIDE = 1024, 128
"""How many numbers one program has, and how many of them lie beside each other in memory."""

USUAL = 0.75
"""The exponent for which two roots cost less than a power."""

# Set when Triton is wanted, as its language is: what both kernels call.
_tile: Any = None
_base: Any = None
_factor: Any = None


def takes(x: Tensor) -> bool:
    """Tell whether the kernel can have a tensor: on a GPU where it works, with nobody recording."""
    return (
        x.is_cuda
        and x.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and not (x.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and _works_on(x.device)
    )


@functools.cache
def _works_on(device: torch.device) -> bool:
    """Try it once: whether there is Triton, and it finds what it compiles with."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        ones = torch.ones(1, 2, 1, 1, dtype=torch.float32, device=device)
        found = forward(ones, LRNParameter(local_size=1, alpha=1))
        return bool((found - 2**-USUAL).abs().amax() < 1e-6)
    except Exception:
        # Triton raises what its compiler, the system's and the driver raise.
        return False


def forward(x: Tensor, param: LRNParameter) -> Tensor:
    """Return x * base ** -beta, see `caffe.layers.lrn.LRN`.

    Parameters
    ----------
    x : Tensor
        N x C x H x W, channels first or last.
    param : LRNParameter
        Across channels.
    """
    x = _dense(x)
    top = torch.empty_like(x)
    _launch(0, x, param, (x, top))
    return top


def backward(diff: Tensor, x: Tensor, param: LRNParameter) -> Tensor:
    """Return the gradient by `x` of what `forward` returns, from that by its result."""
    x = _dense(x)
    diff = diff.contiguous(
        memory_format=torch.contiguous_format if x.is_contiguous() else torch.channels_last
    )
    gradient = torch.empty_like(x)
    _launch(1, x, param, (x, diff, gradient))
    return gradient


def _dense(x: Tensor) -> Tensor:
    """The tensor with its places beside each other, or all channels of a place."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    return x.contiguous()


def _launch(which: int, x: Tensor, param: LRNParameter, tensors: tuple[Tensor, ...]) -> None:
    number, channels, height, width = x.shape
    places = height * width
    if not x.numel():
        return
    *kernels, power_of_two = _kernels()
    is_first = x.is_contiguous()
    near = min(SIDE, power_of_two(places if is_first else channels))
    far = min(TILE // near, power_of_two(channels if is_first else places))
    rows, columns = (far, near) if is_first else (near, far)
    grid = (number * -(-channels // rows) * -(-places // columns),)
    strides = (places, 1) if is_first else (1, channels)
    with torch.cuda.device_of(x):
        kernels[which][grid](
            *tensors,
            channels,
            places,
            *strides,
            param.alpha / param.local_size,
            param.beta,
            param.k,
            size=param.local_size,
            is_usual=param.beta == USUAL,
            rows=rows,
            columns=columns,
        )


@functools.cache
def _kernels() -> tuple[Any, Any, Any]:
    """Forward and backward, and what gives the next power of two."""
    global tl, _tile, _base, _factor
    triton: Any = importlib.import_module("triton")
    tl = importlib.import_module("triton.language")
    _tile, _base, _factor = map(triton.jit, (_tile_of, _base_at, _factor_of))
    return triton.jit(_forward_kernel), triton.jit(_backward_kernel), triton.next_power_of_2


# What follows is Triton's: it is compiled from its source, and knows `tl` and the functions above.
# Also annotations must be what `tl` has.


def _tile_of(
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


def _base_at(
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


def _factor_of(base: tl.tensor, beta: tl.tensor, is_usual: tl.constexpr) -> tl.tensor:
    """base ** -beta."""
    factor = tl.exp2(-beta * tl.log2(base))
    if is_usual:
        root = 1.0 / tl.sqrt(base)
        factor = root * tl.sqrt(root)
    return factor


def _forward_kernel(
    x: tl.tensor, top: tl.tensor, channels: tl.tensor, places: tl.tensor, channel_stride: tl.tensor,
    place_stride: tl.tensor, share: tl.tensor, beta: tl.tensor, k: tl.tensor,
    size: tl.constexpr, is_usual: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
) -> None:  # fmt: skip
    channel, at, is_inside = _tile(channels, places, channel_stride, place_stride, rows, columns)
    base = _base(x, channel, at, is_inside, channels, channel_stride, share, k, size)
    value = tl.load(x + at, mask=is_inside, other=0.0).to(tl.float32)
    result = value * _factor(base, beta, is_usual)
    tl.store(top + at, result.to(top.dtype.element_ty), mask=is_inside)


def _backward_kernel(
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
