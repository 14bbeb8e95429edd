"""Normalisation by a batch's own mean and variance, exactly also where channels lie last."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

PIECE, ROWS = 2**18, 2**11
"""How many numbers, and places, PyTorch's kernel goes through at a time at most: it adds up floats
one by one. The pieces' sums are added as doubles."""


def normalized(
    x: Tensor, scale: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (x - mean) / sqrt(variance + eps), times scale, plus bias; the mean; the variance.

    PyTorch's kernel for channels last adds up hundreds of thousands of numbers one by one, and
    loses three digits of the mean. Of pieces it is as exact as that for planes.

    Parameters
    ----------
    x : Tensor
        (N, C, ...); a channel has more than one number.
    scale, bias : Tensor or None
        (C,).
    eps : float
        What is added to the variance.

    Returns
    -------
    y : Tensor
        As x.
    mean, variance : Tensor
        (C,), without gradients; the variance is that of a sample (divided by one less).
    """
    count = x.numel() // x.shape[1]
    if not (
        x.dim() == 4
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last)
    ):
        mean, variance = x.new_zeros(2, x.shape[1])
        # With a momentum of 1 the running statistics are the batch's own.
        y = torch.batch_norm(
            x, scale, bias, mean, variance, True, 1.0, eps, torch.backends.cudnn.enabled
        )
        return y, mean, variance
    y, mean, variance = _by_rows()(x, scale, bias, eps)
    return y, mean, variance * (count / (count - 1))


def _pieces(x: Tensor) -> Sequence[Tensor]:
    """Part pictures whose channels lie last into some places each, as pictures one place wide."""
    channels = x.shape[1]
    rows = x.permute(0, 2, 3, 1).view(-1, channels)
    parts = rows.split(max(1, min(ROWS, PIECE // channels)))
    return [part.view(1, -1, 1, channels).permute(0, 3, 1, 2) for part in parts]


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and variance, in float64."""
    pieces = _pieces(x)
    found = [torch.batch_norm_update_stats(piece, None, None, 0.0) for piece in pieces]
    means, variances = (torch.stack(parts).double() for parts in zip(*found, strict=True))
    shares = means.new_tensor([piece.shape[2] for piece in pieces])[:, None]
    shares /= shares.sum()
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)


def _scaled(x: Tensor, factor: Tensor, mean: Tensor, summand: Tensor | None) -> Tensor:
    """Return (x - mean) * factor + summand, in one pass over the memory."""
    is_training, momentum, eps = False, 0.0, 0.0
    one = torch.ones_like(mean)
    settings = is_training, momentum, eps
    return torch.native_batch_norm(x, factor, summand, mean, one, *settings)[0]


@functools.cache
def _by_rows() -> Any:
    class ByRows(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any, x: Tensor, scale: Tensor | None, bias: Tensor | None, eps: float
        ) -> tuple[Tensor, Tensor, Tensor]:
            mean, variance = _statistics(x)
            inverse = (variance + eps).rsqrt().float()
            mean, variance = mean.float(), variance.float()
            factor = inverse if scale is None else inverse * scale
            ctx.save_for_backward(x, mean, inverse, factor)
            ctx.mark_non_differentiable(mean, variance)
            return _scaled(x, factor, mean, bias), mean, variance

        @staticmethod
        def backward(ctx: Any, diff: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
            x, mean, inverse, factor = ctx.saved_tensors
            diff = diff.contiguous(memory_format=torch.channels_last)
            of_scale, of_bias = _sums(diff, x, mean, inverse)
            of_x = None
            if ctx.needs_input_grad[0]:
                count = x.numel() // x.shape[1]
                along, summand = of_scale * inverse * factor, of_bias * factor
                of_x = _scaled(x, along / -count, mean, summand / -count)
                of_x.addcmul_(diff, factor.view(1, -1, 1, 1))
            needs = ctx.needs_input_grad
            return of_x, of_scale if needs[1] else None, of_bias if needs[2] else None, None

    return ByRows.apply


def _sums(diff: Tensor, x: Tensor, mean: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's sum of diff * (x - mean) * inverse, and of diff."""
    kernel, needs = torch.ops.aten.native_batch_norm_backward, [False, True, True]
    found = [
        kernel(d, piece, inverse, None, None, mean, inverse, True, 0.0, needs)[1:]
        for d, piece in zip(_pieces(diff), _pieces(x), strict=True)
    ]
    products, sums = (torch.stack(parts).double().sum(0) for parts in zip(*found, strict=True))
    return products.float(), sums.float()
