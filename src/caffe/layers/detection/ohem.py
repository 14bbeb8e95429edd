"""R-FCN's training on the regions that are hardest: losses of single regions, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import BoxAnnotatorOHEMParameter
from ...pytorch import torch
from ..layer import Layer, register
from ..softmax_loss import LEAST_FLOAT, SoftmaxWithLoss

if TYPE_CHECKING:
    from torch import Tensor


@register("SoftmaxWithLossOHEM")
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """SoftmaxWithLoss; a third top gets each label's own loss, 0 where it is ignored (R-FCN)."""

    tops = (1, 3)

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        return [*shapes, bottoms[1]] if len(self.layer_param.top) > 2 else shapes

    def forward(self, x: Tensor, labels: Tensor, *places: Tensor) -> list[Tensor]:
        rows = self._rows(torch.softmax(x, self._axis))
        index, counts = self._labels(labels, rows.shape[1])
        losses = -rows.gather(1, index[:, None])[:, 0].clamp(min=LEAST_FLOAT).log()
        single = torch.where(counts, losses, 0).reshape(labels.shape)
        return [*super().forward(x, labels), single][: max(1, len(self.layer_param.top))]


@register("BoxAnnotatorOHEM")
class BoxAnnotatorOHEM(Layer[BoxAnnotatorOHEMParameter]):
    """Labels and weights of the roi_per_img regions of largest loss in each picture.

    Bottoms: regions (R, 5), losses (R), labels (R), weights (R, ...). The tops are labels and
    weights; all other regions get ignore_label and 0 (Shrivastava et al., 2016).
    """

    message = "box_annotator_ohem_param"
    bottoms = 4
    tops = 2
    has_gradient = False
    no_gradient_for = frozenset({0, 1, 2, 3})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        regions, losses, labels, weights = bottoms
        if not regions or not weights:
            raise ShapeError(f"regions and weights need an axis, but the shapes are {bottoms}")
        count = regions[0]
        if any(torch.Size(shape).numel() != count for shape in (losses, labels)) or (
            weights[0] != count
        ):
            raise ShapeError(
                f"{count} regions need as many losses, labels and rows of weights, but the "
                f"bottoms' shapes are {bottoms}"
            )
        return [labels, weights]

    def forward(
        self, regions: Tensor, losses: Tensor, labels: Tensor, weights: Tensor
    ) -> Sequence[Tensor]:
        picture = regions.reshape(len(regions), -1)[:, 0].trunc()
        order = losses.reshape(-1).argsort(descending=True, stable=True)
        chosen = torch.zeros(len(order), dtype=torch.bool, device=regions.device)
        for one in picture.unique():
            chosen[order[picture[order] == one][: self.param.roi_per_img]] = True
        kept = labels.reshape(-1).where(chosen, labels.new_tensor(self.param.ignore_label))
        rows = chosen.view(-1, *[1] * (weights.dim() - 1))
        return [kept.view(labels.shape), weights.where(rows, torch.zeros_like(weights))]
