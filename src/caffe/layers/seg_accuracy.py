"""SegAccuracy: how many pixels are labelled right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CaffeError, NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import SegAccuracyParameter
from ..pytorch import torch
from .axes import four_axes
from .layer import Layer, register

if TYPE_CHECKING:
    from torch import Tensor


@register("SegAccuracy")
class SegAccuracy(Layer[SegAccuracyParameter]):
    """Over all pixels: the share that is right, the mean of the classes' shares, and of overlaps.

    Bottoms: scores (N, C, H, W) and labels (N, 1, H, W). A class's overlap is what is right by
    what is of the class or was taken for it. Without `reset` all forwards count together.
    """

    message = "seg_accuracy_param"
    family = "loss"
    bottoms = 2
    has_gradient = False
    no_gradient_for = frozenset({0, 1})
    is_pure = False
    differences = "of the forks (DeepLab)"

    def setup(self, *bottoms: Shape) -> None:
        if self.param.top_k != 1:
            raise NetError(f"top_k must be 1, not {self.param.top_k}")
        self._counts: Tensor | None = None

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        scores, labels = (four_axes(shape) for shape in bottoms)
        if (scores[0], 1, *scores[2:]) != labels:
            raise ShapeError(
                f"scores of shape {bottoms[0]} need labels of shape "
                f"{(scores[0], 1, *scores[2:])}, not {bottoms[1]}"
            )
        return [(1, 1, 1, 3)]

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        classes = scores.shape[1]
        wanted = labels.reshape(-1).long()
        found = scores.argmax(1).reshape(-1)
        counted = torch.ones_like(wanted, dtype=torch.bool)
        for ignored in self.param.ignore_label:
            counted &= wanted != ignored
        wanted, found = wanted[counted], found[counted]
        if bool(((wanted < 0) | (wanted >= classes)).any()):
            wrong = int(wanted[(wanted < 0) | (wanted >= classes)][0])
            raise CaffeError(f"a label is {wrong}, but the classes are 0 to {classes - 1}")
        counts = torch.bincount(wanted * classes + found, minlength=classes**2)
        counts = counts.view(classes, classes).double()
        if not self.param.reset and self._counts is not None:
            counts = counts + self._counts
        self._counts = counts
        right, own = counts.diagonal(), counts.sum(1)
        either = own + counts.sum(0) - right
        shares = right.sum() / own.sum().clamp(min=1), _mean(right, own), _mean(right, either)
        return torch.stack(shares).to(scores).view(1, 1, 1, 3)


def _mean(part: Tensor, whole: Tensor) -> Tensor:
    """The mean of shares over the classes that are there."""
    there = whole > 0
    return (part[there] / whole[there]).sum() / there.sum().clamp(min=1)
