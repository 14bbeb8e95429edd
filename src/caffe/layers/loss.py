"""What all losses share, and the losses that compare with targets of the predictions' own form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ..errors import ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import ContrastiveLossParameter, HingeLossParameter, LossParameter
from ..pytorch import F, torch
from .axes import four_axes
from .description import Count
from .labels import class_labels
from .layer import Layer, P, register

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Layer[P]):
    """One number from predictions and labels; it counts towards the objective by itself."""

    family = "loss"
    bottoms: ClassVar[Count] = 2
    automatic_tops = True
    default_loss_weight = 1
    is_zero_of_nothing = True
    no_gradient_for = frozenset({1})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if not bottoms[0] or not bottoms[1] or bottoms[0][0] != bottoms[1][0]:
            raise ShapeError(
                f"predictions and labels must have the same first dimension, but their shapes "
                f"are {bottoms[0]} and {bottoms[1]}"
            )
        return [()]


def as_rows(x: Tensor) -> Tensor:
    """View a blob as one row for each first index."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def one_per_item(shape: Shape, what: str) -> None:
    """Check that a blob holds a single number for each first index."""
    if four_axes(shape)[1:] != (1, 1, 1):
        raise ShapeError(f"{what} must be one number per item, but their shape is {shape}")


def normalization(param: LossParameter, default: int) -> int:
    """Return the mode of normalization, the old field `normalize` heeded."""
    if param.HasField("normalization"):
        return param.normalization
    if param.HasField("normalize"):
        return LossParameter.VALID if param.normalize else LossParameter.BATCH_SIZE
    return default


def normalizer(mode: int, outer: int, inner: int, counts: Tensor) -> Tensor | int:
    """Return what the sum of losses is divided by, at least 1.

    Parameters
    ----------
    mode : LossParameter.NormalizationMode
        FULL counts all places, VALID those not ignored, BATCH_SIZE the items, NONE nothing.
    outer, inner : int
        How many items there are, and how many places in each.
    counts : Tensor
        Bool, for each place: it is not ignored.
    """
    if mode == LossParameter.VALID:
        return counts.sum().clamp(min=1)
    if mode == LossParameter.FULL:
        return max(1, outer * inner)
    return max(1, outer) if mode == LossParameter.BATCH_SIZE else 1


def ignored_label(param: LossParameter) -> int | None:
    """Return the label that counts nothing, if one is set."""
    return param.ignore_label if param.HasField("ignore_label") else None


@register("EuclideanLoss")
class EuclideanLoss(Loss):
    """top = sum((a - b)^2) / (2 N), N being the first dimension."""

    further_messages = ("loss_param",)
    no_gradient_for = frozenset()
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        four_axes(bottoms[0])
        if math.prod(bottoms[0][1:]) != math.prod(bottoms[1][1:]):
            raise ShapeError(
                f"both bottoms must hold as many numbers per item, but their shapes are "
                f"{bottoms[0]} and {bottoms[1]}"
            )
        return shapes

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b.reshape(a.shape)).square().sum() / (2 * len(a))


@register("HingeLoss")
class HingeLoss(Loss[HingeLossParameter]):
    """top = sum(max(0, 1 - t x)^p) / N, t being 1 for the label's class and -1 for the others.

    p is 1 for the norm L1, 2 for L2.
    """

    message = "hinge_loss_param"
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        four_axes(bottoms[0])
        return shapes

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        scores = as_rows(x)
        if labels.numel() > len(x):
            # Of labels with several numbers per item Caffe reads the first N in memory.
            labels = labels.reshape(-1)[: len(x)]
        index, _ = class_labels(self.layer_param, labels, scores.shape[1])
        target = torch.full_like(scores, -1).scatter(1, index[:, None], 1)
        margins = F.relu(1 - target * scores)
        if self.param.norm == HingeLossParameter.L2:
            margins = margins.square()
        return margins.sum() / len(x)


@register("ContrastiveLoss")
class ContrastiveLoss(Loss[ContrastiveLossParameter]):
    """top = sum(y d^2 + (1 - y) max(0, margin - d)^2) / (2 N), d being the distance of a and b.

    y is 1 for similar pairs, 0 for dissimilar ones (Hadsell et al., 2006). `legacy_version`
    has max(0, margin - d^2) for the dissimilar ones.
    """

    message = "contrastive_loss_param"
    bottoms = 3
    no_gradient_for = frozenset({2})
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        a, b = four_axes(bottoms[0]), four_axes(bottoms[1])
        if a[1] != b[1] or a[2:] != (1, 1) or b[2:] != (1, 1):
            raise ShapeError(
                f"the pairs must be two blobs of shape (N, C) alike, but their shapes are "
                f"{bottoms[0]} and {bottoms[1]}"
            )
        one_per_item(bottoms[2], "the similarities")
        if four_axes(bottoms[2])[0] < a[0]:
            raise ShapeError(f"there are {a[0]} pairs, but the similarities' shape is {bottoms[2]}")
        return shapes

    def forward(self, a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
        _, squared, alike = self._pairs(a, b, similar)
        if self.param.legacy_version:
            apart = F.relu(self.param.margin - squared)
        else:
            apart = F.relu(self.param.margin - squared.sqrt()).square()
        return torch.where(alike, squared, apart).sum() / (2 * len(a))

    def backward(
        self,
        diffs: Sequence[Tensor],
        tops: Sequence[Tensor],
        inputs: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        # Caffe adds 1e-4 to the distance that it divides by, so that equal pairs get zeros.
        a, b, similar = inputs
        difference, squared, alike = self._pairs(a, b, similar)
        if self.param.legacy_version:
            rest = self.param.margin - squared
            factor = -torch.ones_like(rest)
        else:
            rest = self.param.margin - squared.sqrt()
            factor = -rest / (squared.sqrt() + 1e-4)
        factor = torch.where(alike, 1, torch.where(rest > 0, factor, 0))
        gradient = (diffs[0] / len(a) * factor)[:, None] * difference
        return [gradient.reshape(a.shape), -gradient.reshape(b.shape), None]

    @staticmethod
    def _pairs(a: Tensor, b: Tensor, similar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Differences (N, C), their squared lengths (N), and which pairs are similar (N)."""
        difference = as_rows(a) - as_rows(b)
        alike = similar.reshape(-1)[: len(a)].trunc() != 0
        return difference, difference.square().sum(1), alike


@register("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Loss[LossParameter]):
    """top = -sum(t log(p) + (1 - t) log(1 - p)) / normalizer, p being 1 / (1 + exp(-x)).

    Targets t are probabilities, one for each x. The normalizer is that of BATCH_SIZE where
    nothing else is said.
    """

    message = "loss_param"
    further_messages = ("sigmoid_param",)
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        if math.prod(bottoms[0]) != math.prod(bottoms[1]):
            raise ShapeError(
                f"there must be one target for each prediction, but the shapes are "
                f"{bottoms[0]} and {bottoms[1]}"
            )
        return shapes

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        targets = targets.reshape(x.shape)
        ignored = ignored_label(self.param)
        counts = torch.ones_like(x, dtype=torch.bool)
        if ignored is not None:
            counts = targets.trunc() != ignored
        losses = F.binary_cross_entropy_with_logits(x, targets, reduction="none")
        mode = normalization(self.param, LossParameter.BATCH_SIZE)
        total = torch.where(counts, losses, 0).sum()
        return total / normalizer(mode, len(x), math.prod(x.shape[1:]), counts)
