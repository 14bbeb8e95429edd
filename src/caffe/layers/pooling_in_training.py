"""Maximum pooling whose gradient finds the largest numbers again: it keeps no places."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
