"""Losses by absolute differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import L1LossParameter, LossParameter, SmoothL1LossParameter
from ...pytorch import torch
from ..layer import register
from ..loss import Loss, normalization, normalizer

if TYPE_CHECKING:
    from torch import Tensor


def smooth_l1(x: Tensor, sigma: float = 1) -> Tensor:
    """Return 0.5 (sigma x)^2 where abs(x) < 1 / sigma^2, else abs(x) - 0.5 / sigma^2."""
    square = sigma * sigma
    size = x.abs()
    return torch.where(size < 1 / square, 0.5 * square * x * x, size - 0.5 / square)


def _check_alike(bottoms: Sequence[Shape]) -> None:
    count = math.prod(bottoms[0])
    if any(math.prod(shape) != count for shape in bottoms[1:]):
        raise ShapeError(f"all bottoms must hold as many numbers, but their shapes are {bottoms}")


@register("SmoothL1Loss")
class SmoothL1Loss(Loss[SmoothL1LossParameter]):
    """top = sum(outer * smooth(inner * (a - b))) / N, smooth(d) = 0.5 (sigma d)^2 near 0.

    Farther from 0 than 1 / sigma^2 it is abs(d) - 0.5 / sigma^2. N is the first dimension.
    The third and fourth bottoms are the weights inner and outer (Girshick, Fast R-CNN, 2015).
    """

    message = "smooth_l1_loss_param"
    bottoms = (2, 4)
    no_gradient_for = frozenset({2, 3})
    trains_unseen = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.sigma <= 0:
            raise NetError(f"sigma must be positive, not {self.param.sigma:g}")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        _check_alike(bottoms)
        return super().top_shapes(*bottoms)

    def forward(self, a: Tensor, b: Tensor, *weights: Tensor) -> Tensor:
        difference = a - b.reshape(a.shape)
        if weights:
            difference = difference * weights[0].reshape(a.shape)
        losses = smooth_l1(difference, self.param.sigma)
        if len(weights) > 1:
            losses = losses * weights[1].reshape(a.shape)
        return losses.sum() / len(a)


@register("L1Loss")
class L1Loss(Loss[L1LossParameter]):
    """top = sum(abs(a - b)) / N, N being the first dimension; places of NaN count nothing.

    With l2_per_location the sum goes over the L2 norms along the channels, sqrt(sum of
    squares + epsilon), squares up to plateau^2 being 0. normalize_by_num_entries divides by how
    many places count instead (FlowNet, Dosovitskiy et al., 2015). One bottom is a difference
    itself.
    """

    message = "l1_loss_param"
    bottoms = (1, 2)
    no_gradient_for = frozenset()
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        _check_alike(bottoms)
        if len(bottoms[0]) < 2:
            raise ShapeError(f"the bottoms need 2 axes or more, not the shape {bottoms[0]}")
        return [()]

    def forward(self, a: Tensor, *b: Tensor) -> Tensor:
        param = self.param
        difference = a - b[0].reshape(a.shape) if b else a
        counts = ~difference.isnan()
        difference = torch.where(counts, difference, torch.zeros_like(difference))
        if param.l2_per_location:
            squares = difference.square().sum(1)
            if param.l2_prescale_by_channels:
                squares = squares / a.shape[1]
            near = squares <= param.plateau**2 if param.plateau else torch.zeros_like(squares) > 0
            squares = squares.masked_fill(near, 0)
            losses = (squares + param.epsilon).sqrt()
        else:
            losses = difference.abs()
            losses = losses.masked_fill(losses < param.plateau, 0)
        total: Tensor = losses.sum()
        if param.normalize_by_num_entries:
            return total / (counts.sum() / a.shape[1]).clamp(min=1)
        return total / len(a)


@register("SmoothL1LossOHEM")
class SmoothL1LossOHEM(Loss[LossParameter]):
    """top[0] = sum(smooth(weight * (a - b))) / normalizer; top[1] holds each region's sum.

    smooth(d) is 0.5 d^2 for abs(d) < 1, else abs(d) - 0.5; the third bottom is the weight.
    The normalizer is that of loss_param: regions and places, or regions (R-FCN, Dai et al., 2016).
    """

    message = "loss_param"
    bottoms = (2, 3)
    tops = (1, 2)
    no_gradient_for = frozenset({2})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        _check_alike(bottoms)
        single = super().top_shapes(*bottoms)
        num, *rest = bottoms[0]
        places = [*rest, 1, 1, 1][1:3]
        shapes: list[Shape] = [*single, (num, 1, *places)]
        return shapes[: max(1, len(self.layer_param.top))]

    def forward(self, a: Tensor, b: Tensor, *weights: Tensor) -> Sequence[Tensor]:
        difference = a - b.reshape(a.shape)
        if weights:
            difference = difference * weights[0].reshape(a.shape)
        losses = smooth_l1(difference)
        places = len(a) * math.prod(a.shape[2:])
        way = normalization(self.param, LossParameter.VALID)
        divisor = normalizer(way, len(a), math.prod(a.shape[2:]), torch.tensor(places))
        single = losses.sum(1).reshape(len(a), 1, *[*a.shape, 1, 1, 1][2:4])
        return [losses.sum() / divisor, single]
