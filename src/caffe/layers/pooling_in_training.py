"""Maximum pooling whose gradient finds the largest numbers again, and what is no number."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, cast

from ..compiled.llvm import width_within
from ..compiled.max_pooling import MOST_PIXELS, MaxPooling, MaxPoolingGradient
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .pooling import Windows

    Pair = tuple[int, int]


def is_compiled(x: Tensor, windows: Windows) -> bool:
    """Tell whether kernels of our own know such windows over pictures that lie so."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and windows.kernel[0] * windows.kernel[1] <= MOST_PIXELS
        and windows.suits_torch(*x.shape[2:])
        and bool(width_within(x.shape[1]))
    )


def max_pool(x: Tensor, windows: Windows) -> Tensor:
    """Return each window's largest value."""
    return MaxPooling(*_geometry(x, windows))(x, *windows.out_sizes(*x.shape[2:]))


def gradient(diff: Tensor, x: Tensor, windows: Windows) -> Tensor:
    """Return the gradient by `x` for that by the largest values, as autograd's, to the same bit."""
    rows = diff.contiguous(memory_format=torch.channels_last)
    return MaxPoolingGradient(*_geometry(x, windows))(rows, x)


def _geometry(x: Tensor, windows: Windows) -> tuple[Pair, Pair, Pair, int]:
    return windows.kernel, windows.stride, windows.pad, x.shape[1]


def numbers(x: Tensor, least: float) -> Tensor:
    """Return `x` with the least number for NaN and minus infinity, which get no gradient."""
    return cast("Tensor", _numbers()(x, least))


@functools.cache
def _numbers() -> Any:
    """The same by one kernel there, and one back."""

    class Numbers(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, least: float) -> Tensor:
            ctx.least, y = least, x.nan_to_num(least, math.inf, least)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, diff: Tensor) -> tuple[Tensor, None]:
            (y,) = ctx.saved_tensors
            return torch.ops.aten.threshold_backward(diff, y, ctx.least), None

    return Numbers.apply
