"""Accuracy: how often the label is among the best predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import AccuracyParameter
from ..pytorch import torch
from .labels import class_labels
from .layer import Layer, register

if TYPE_CHECKING:
    from torch import Tensor


@register("Accuracy")
class Accuracy(Layer[AccuracyParameter]):
    """The share of labels whose score along `axis` is among the `top_k` largest.

    A score equal to the label's counts against it. A second top gives the share by class.
    """

    message = "accuracy_param"
    family = "loss"
    bottoms = 2
    tops = (1, 2)
    has_gradient = False
    no_gradient_for = frozenset({0, 1})
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        scores, labels = bottoms
        axis = self.axis(self.param.axis, scores)
        expected = math.prod(scores) // max(1, scores[axis])
        if math.prod(labels) != expected:
            raise ShapeError(
                f"scores of shape {scores} need {expected} labels, "
                f"but the labels' shape is {labels}"
            )
        if not 1 <= self.param.top_k <= scores[axis]:
            raise ShapeError(
                f"top_k must be 1 to the number of classes, {scores[axis]}, not {self.param.top_k}"
            )
        return [(), (scores[axis],)][: max(1, len(self.layer_param.top))]

    def forward(self, scores: Tensor, labels: Tensor) -> Sequence[Tensor]:
        rows = scores.movedim(self.param.axis, -1)
        classes = rows.shape[-1]
        rows = rows.reshape(-1, classes)
        ignored = self.param.ignore_label if self.param.HasField("ignore_label") else None
        index, counts = class_labels(self.layer_param, labels, classes, ignored)
        own = rows.gather(1, index[:, None])
        right = (((rows >= own).sum(1) <= self.param.top_k) & counts).to(scores.dtype)
        seen = counts.to(scores.dtype)
        share = right.sum() / seen.sum().clamp(min=1)
        if len(self.layer_param.top) < 2:
            return [share]
        by_class = torch.zeros(2, classes, dtype=scores.dtype, device=scores.device)
        by_class.index_add_(1, index, torch.stack([right, seen]))
        return [share, by_class[0] / by_class[1].clamp(min=1)]
