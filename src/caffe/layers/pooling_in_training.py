"""Maximum pooling whose gradient finds the largest numbers again: it keeps no places."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..compiled.llvm import width_for
from ..compiled.max_pooling import MOST_PIXELS, MaxPooling, MaxPoolingGradient
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .pooling import Windows


def is_compiled(x: Tensor, windows: Windows) -> bool:
    """Tell whether kernels of our own know such windows over pictures that lie so."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and windows.kernel[0] * windows.kernel[1] <= MOST_PIXELS
        and windows.suits_torch(*x.shape[2:])
        and bool(width_for(x.shape[1]))
    )


def max_pool(x: Tensor, windows: Windows) -> Tensor:
    """Return each window's largest value, so that autograd knows its gradient, to the same bit."""
    found: Tensor = _function().apply(x, windows)
    return found


@functools.cache
def _function() -> type[torch.autograd.Function]:
    class MaxPool(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, windows: Windows) -> Tensor:
            ctx.save_for_backward(x)
            ctx.geometry = windows.kernel, windows.stride, windows.pad, x.shape[1]
            return MaxPooling(*ctx.geometry)(x, *windows.out_sizes(*x.shape[2:]))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *diffs: Tensor) -> tuple[Tensor | None, ...]:
            (x,) = ctx.saved_tensors
            rows = diffs[0].contiguous(memory_format=torch.channels_last)
            return MaxPoolingGradient(*ctx.geometry)(rows, x), None

    return MaxPool
