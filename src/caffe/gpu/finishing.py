"""What follows a convolution, in its place: a bias, a sum and an activation in one pass.

PyTorch's operations read and write the convolution's result once for each of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..pytorch import torch
from . import kernel
from .kernel import Kernel, power_of_two

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

TILE, SIDE = 4096, 256
"""How many numbers one program has, and how many of them at most lie beside each other."""


def takes(y: Tensor) -> bool:
    """Tell whether the kernel can have a tensor, see `caffe.gpu.kernel.takes`."""
    return kernel.takes(y, _is_right)


def _is_right(device: torch.device) -> bool:
    y = torch.full((1, 2, 1, 1), -3.0, dtype=torch.float32, device=device)
    found = finish(y, torch.ones(2, dtype=torch.float32, device=device), None, 0.5)
    return bool((found == -1).all())


def finish(
    y: Tensor,
    bias: Tensor,
    other: Tensor | None = None,
    slope: float = 1.0,
    least: float = -math.inf,
    most: float = math.inf,
) -> Tensor:
    """Let `y` be min(max(z, least), most) of z = y + bias + other, its negative parts by `slope`.

    Parameters
    ----------
    y : Tensor
        N x C x H x W, channels first or last, dense; it is overwritten.
    bias : Tensor
        C numbers.
    other : Tensor, optional
        As `y`, in the same order.
    slope, least, most : float
        As `caffe.layers.layer.Activation` has them.

    Returns
    -------
    Tensor
        `y`.
    """
    number, channels, height, width = y.shape
    is_first = y.is_contiguous()
    places = height * width
    rows, columns = (number * channels, places) if is_first else (number * places, channels)
    wide = min(SIDE, power_of_two(columns))
    high = TILE // wide
    _finish.launch(
        -(-rows // high) * -(-columns // wide),
        y,
        bias,
        y if other is None else other,
        rows,
        columns,
        channels,
        slope,
        least,
        most,
        is_first=is_first,
        has_other=other is not None,
        **kinds(slope, least, most),
        high=high,
        wide=wide,
    )
    return y


def kinds(slope: float, least: float, most: float) -> dict[str, bool]:
    """What of an activation kernels are compiled for, which `activated` takes."""
    has_bounds = least > -math.inf or most < math.inf
    return {"is_relu": slope == 0, "has_slope": slope != 1, "has_bounds": has_bounds}


# Triton's, see `caffe.gpu.kernel`.


@Kernel
def activated(
    value: tl.tensor, slope: tl.tensor, least: tl.tensor, most: tl.tensor,
    is_relu: tl.constexpr, has_slope: tl.constexpr, has_bounds: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """min(max(value, least), most), negative parts by `slope` before."""
    # What is no number stays.
    if is_relu:
        value = tl.maximum(value, 0.0, tl.PropagateNan.ALL)
    elif has_slope:
        value = tl.where(value < 0, slope * value, value)
    if has_bounds:
        value = tl.maximum(value, least, tl.PropagateNan.ALL)
        value = tl.minimum(value, most, tl.PropagateNan.ALL)
    return value


@Kernel
def _finish(
    y: tl.tensor, bias: tl.tensor, other: tl.tensor, rows: tl.tensor, columns: tl.tensor,
    channels: tl.tensor, slope: tl.tensor, least: tl.tensor, most: tl.tensor,
    is_first: tl.constexpr, has_other: tl.constexpr, has_slope: tl.constexpr,
    is_relu: tl.constexpr, has_bounds: tl.constexpr, high: tl.constexpr, wide: tl.constexpr,
) -> None:  # fmt: skip
    across = (columns + wide - 1) // wide
    program = tl.program_id(0)
    row = (program // across) * high + tl.arange(0, high)[:, None]
    column = (program % across) * wide + tl.arange(0, wide)[None, :]
    is_inside = (row < rows) & (column < columns)
    at = row.to(tl.int64) * columns + column
    value = tl.load(y + at, mask=is_inside, other=0.0).to(tl.float32)
    if is_first:
        summand = tl.load(bias + row % channels, mask=row < rows, other=0.0)
    else:
        summand = tl.load(bias + column, mask=column < columns, other=0.0)
    value += summand.to(tl.float32)
    if has_other:
        value += tl.load(other + at, mask=is_inside, other=0.0).to(tl.float32)
    value = activated(value, slope, least, most, is_relu, has_slope, has_bounds)
    tl.store(y + at, value.to(y.dtype.element_ty), mask=is_inside)
