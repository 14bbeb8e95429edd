"""The losses of class probabilities: how improbable the labels are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import NetError, ShapeError
from ..logs import Line
from ..memory.blob import Blob, Shape
from ..proto.caffe_pb2 import InfogainLossParameter, LossParameter, SoftmaxParameter
from ..pytorch import torch
from ..weights.files import read_blob
from .asking import put_off
from .axes import four_axes
from .labels import class_labels
from .layer import P, register
from .loss import Loss, as_rows, ignored_label, normalization, normalizer, one_per_item

if TYPE_CHECKING:
    from torch import Tensor

LEAST_PROBABILITY = 1e-20
"""What improbable labels count as in a logarithm (Caffe's kLOG_THRESHOLD)."""

LEAST_FLOAT = float(np.finfo(np.float32).tiny)


class ClassLoss(Loss[P]):
    """A loss of the softmax of the predictions along an axis, one label for each other place."""

    further_messages = ("loss_param",)
    tops = (1, 2)
    _axis: int

    def class_axis(self) -> int:
        """Return the axis of the classes as the text gives it."""
        raise NotImplementedError

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        predictions, labels = bottoms[:2]
        self._axis = self.axis(self.class_axis(), predictions)
        self._outer = math.prod(predictions[: self._axis])
        self._inner = math.prod(predictions[self._axis + 1 :])
        if math.prod(labels) != self._outer * self._inner:
            raise ShapeError(
                f"predictions of shape {predictions} with the classes along axis {self._axis} "
                f"need {self._outer * self._inner} labels, but the labels' shape is {labels}"
            )
        return [*shapes, predictions] if self._with_probabilities else shapes

    def lines_at_setup(self, tops: Sequence[Blob]) -> Iterable[Line]:
        # The original's has a layer for the softmax.
        yield "layer_factory.hpp:77", f"Creating layer {self.name}"

    @property
    def _with_probabilities(self) -> bool:
        return len(self.layer_param.top) > 1

    def _results(self, loss: Tensor, probabilities: Tensor) -> list[Tensor]:
        return [loss, probabilities] if self._with_probabilities else [loss]

    def _rows(self, x: Tensor) -> Tensor:
        """Put the classes last: one row for each label."""
        return x.movedim(self._axis, -1).reshape(-1, x.shape[self._axis])

    def _from_rows(self, rows: Tensor, shape: Shape) -> Tensor:
        others = shape[: self._axis] + shape[self._axis + 1 :]
        return rows.reshape(*others, shape[self._axis]).movedim(-1, self._axis)

    def _labels(self, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        return class_labels(
            self.layer_param, labels, classes, ignored_label(self.layer_param.loss_param)
        )

    def _normalizer(self, counts: Tensor) -> Tensor | int:
        mode = normalization(self.layer_param.loss_param, LossParameter.VALID)
        return normalizer(mode, self._outer, self._inner, counts)


@register("SoftmaxWithLoss")
class SoftmaxWithLoss(ClassLoss[SoftmaxParameter]):
    """top = -sum(log(softmax(x)[label])) / normalizer; a second top gets the softmax itself.

    With SegNet's weight_by_label_freqs each label's term is multiplied by its class's number in
    class_weighting, with caffe-jacinto's label_weights by its number there. The normalizer counts
    labels, not weights.
    """

    message = "softmax_param"
    takes_scores = True
    differences = (
        "loss_param.weight_by_label_freqs and class_weighting of SegNet, label_weights of "
        "caffe-jacinto"
    )
    trains_unseen = True

    def setup(self, *bottoms: Shape) -> None:
        self._sent: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def class_axis(self) -> int:
        return self.param.axis

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        classes = bottoms[0][self._axis]
        name, weights = self._class_weights()
        if weights is not None and len(weights) != classes:
            raise NetError(
                f"{name} needs a {name.split()[-1]} for each of the {classes} classes, not "
                f"{len(weights)}"
            )
        return shapes

    def _class_weights(self) -> tuple[str, list[float] | None]:
        """Return what each class's terms are multiplied by, and the field that says it."""
        loss = self.layer_param.loss_param
        if loss.weight_by_label_freqs:
            return "weight_by_label_freqs: class_weighting", list(loss.class_weighting)
        return "label_weights", list(loss.label_weights) or None

    def forward(self, x: Tensor, labels: Tensor, *places: Tensor) -> list[Tensor]:
        probabilities = torch.softmax(x, self._axis)
        rows = self._rows(probabilities)
        index, counts = self._labels(labels, rows.shape[1])
        losses = -rows.gather(1, index[:, None])[:, 0].clamp(min=LEAST_FLOAT).log()
        losses = losses * self._weights(losses, index, places)
        loss = torch.where(counts, losses, 0).sum() / self._divisor(counts, places)
        return self._results(loss, probabilities)

    def _weights(self, like: Tensor, index: Tensor, places: Sequence[Tensor]) -> Tensor | int:
        """What each label's term is multiplied by."""
        _, weights = self._class_weights()
        if weights is None:
            return 1
        if put_off() is None:
            return like.new_tensor(weights)[index]
        # A GPU has them sent once.
        key = like.dtype, like.device
        if key not in self._sent:
            self._sent[key] = like.new_tensor(weights)
        return self._sent[key][index]

    def _divisor(self, counts: Tensor, places: Sequence[Tensor]) -> Tensor | int:
        return self._normalizer(counts)

    def backward(
        self,
        diffs: Sequence[Tensor],
        tops: Sequence[Tensor],
        inputs: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        # Caffe's gradient does not see that the logarithm's argument is bounded, nor the diff
        # of the probabilities.
        x, labels, *places = inputs
        rows = self._rows(torch.softmax(x, self._axis))
        index, counts = self._labels(labels, rows.shape[1])
        rows = rows.scatter_add(1, index[:, None], -torch.ones_like(rows[:, :1]))
        counts_by = torch.where(counts, self._weights(rows, index, places), 0)[:, None]
        rows = rows * counts_by * (diffs[0] / self._divisor(counts, places))
        return [self._from_rows(rows, tuple(x.shape)), None, *[None] * len(places)]


@register("WeightedSoftmaxWithLoss")
class WeightedSoftmaxWithLoss(SoftmaxWithLoss):
    """SoftmaxWithLoss whose terms are multiplied by weights.

    Those of the class pos_cid by pos_mult; and each by its number in a third bottom, which is as
    large as the labels. There the normalizer VALID is the sum of the weights of labels that are
    not ignored.
    """

    bottoms = (2, 3)
    no_gradient_for = frozenset({1, 2})
    differences = "both of the layers that have this name"
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms) > 2 and math.prod(bottoms[2]) != math.prod(bottoms[1]):
            raise ShapeError(
                f"the weights must be as many as the labels, but their shapes are {bottoms[2]} "
                f"and {bottoms[1]}"
            )
        return super().top_shapes(*bottoms)

    def _weights(self, like: Tensor, index: Tensor, places: Sequence[Tensor]) -> Tensor | int:
        weights = super()._weights(like, index, places)
        weights = torch.where(index == self.param.pos_cid, self.param.pos_mult, 1.0) * weights
        return weights * places[0].reshape(-1) if places else weights

    def _divisor(self, counts: Tensor, places: Sequence[Tensor]) -> Tensor | int:
        mode = normalization(self.layer_param.loss_param, LossParameter.VALID)
        if not places or mode != LossParameter.VALID:
            return self._normalizer(counts)
        whole = torch.where(counts, places[0].reshape(-1), 0).sum()
        return torch.where(whole > 0, whole, 1)


@register("InfogainLoss")
class InfogainLoss(ClassLoss[InfogainLossParameter]):
    """top = -sum_l(H[label, l] log(softmax(x)[l])) / normalizer, for a matrix H of classes.

    H is the third bottom, or comes from the file `source`. A second top gets the softmax.
    """

    message = "infogain_loss_param"
    bottoms = (2, 3)
    no_gradient_for = frozenset({1, 2})
    _matrix: Tensor

    def class_axis(self) -> int:
        return self.param.axis

    def setup(self, *bottoms: Shape) -> None:
        if self.layer_param.loss_param.HasField("normalize"):
            raise NetError(
                "InfogainLoss has no loss_param.normalize: say normalization: VALID for true, "
                "BATCH_SIZE for false"
            )
        if len(bottoms) > 2:
            return
        if not self.param.HasField("source"):
            raise NetError(
                "the infogain matrix is missing: give it as a third bottom, or its file as "
                "infogain_loss_param.source"
            )
        self._matrix = torch.from_numpy(read_blob(self.param.source))

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        classes = bottoms[0][self._axis]
        matrix = bottoms[2] if len(bottoms) > 2 else tuple(self._matrix.shape)
        if math.prod(matrix) != classes * classes:
            raise ShapeError(
                f"the infogain matrix must hold {classes} x {classes} numbers for {classes} "
                f"classes, but its shape is {matrix}"
            )
        return shapes

    def forward(self, x: Tensor, labels: Tensor, *matrix: Tensor) -> list[Tensor]:
        probabilities = torch.softmax(x, self._axis)
        rows = self._rows(probabilities)
        index, counts = self._labels(labels, rows.shape[1])
        gains = self._gains(x, matrix)[index]
        losses = -(gains * rows.clamp(min=LEAST_PROBABILITY).log()).sum(1)
        loss = torch.where(counts, losses, 0).sum() / self._normalizer(counts)
        return self._results(loss, probabilities)

    def backward(
        self,
        diffs: Sequence[Tensor],
        tops: Sequence[Tensor],
        inputs: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        # As in SoftmaxWithLoss.
        x, labels, *matrix = inputs
        rows = self._rows(torch.softmax(x, self._axis))
        index, counts = self._labels(labels, rows.shape[1])
        gains = self._gains(x, matrix)[index]
        rows = rows * gains.sum(1, keepdim=True) - gains
        rows = torch.where(counts[:, None], rows, 0) * (diffs[0] / self._normalizer(counts))
        return [self._from_rows(rows, tuple(x.shape)), *[None] * (len(inputs) - 1)]

    def _gains(self, x: Tensor, given: Sequence[Tensor]) -> Tensor:
        classes = x.shape[self._axis]
        return (given[0] if given else self._matrix).to(x).reshape(classes, classes)


@register("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Loss):
    """top = -sum(log(p[label])) / N for probabilities p, of which each item has a row."""

    further_messages = ("loss_param",)
    trains_unseen = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        four_axes(bottoms[0])
        one_per_item(bottoms[1], "the labels")
        return shapes

    def forward(self, p: Tensor, labels: Tensor) -> Tensor:
        rows = as_rows(p)
        index, _ = class_labels(self.layer_param, labels, rows.shape[1])
        return -self._bounded(rows, index).log().sum() / len(p)

    def backward(
        self,
        diffs: Sequence[Tensor],
        tops: Sequence[Tensor],
        inputs: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        # Below the bound Caffe's gradient is that at the bound, not zero.
        p, labels = inputs
        rows = as_rows(p)
        index, _ = class_labels(self.layer_param, labels, rows.shape[1])
        gradient = torch.zeros_like(rows)
        values = -diffs[0] / len(p) / self._bounded(rows, index)
        return [gradient.scatter(1, index[:, None], values[:, None]).reshape(p.shape), None]

    @staticmethod
    def _bounded(rows: Tensor, index: Tensor) -> Tensor:
        return rows.gather(1, index[:, None])[:, 0].clamp(min=LEAST_PROBABILITY)
