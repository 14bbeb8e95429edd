"""What nets for faces are trained with: SphereFace's margins and the loss by class centres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import NetError, ShapeError
from ...memory.blob import Shape
from ...phases import TRAIN
from ...proto.caffe_pb2 import CenterLossParameter, MarginInnerProductParameter
from ...pytorch import F, torch
from ..labels import class_labels
from ..layer import Layer, Parameter, Tensors, register
from ..loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-10


@register("MarginInnerProduct")
class MarginInnerProduct(Layer[MarginInnerProductParameter]):
    """top = abs(x) cos(angle), the label's own by (lambda cos + psi) / (1 + lambda) (Liu, 2017).

    The weights (num_output, inputs) are divided by their norms. psi is (-1)^k cos(m angle) - 2 k,
    falling with the angle, m being 1 (SINGLE) to 4 (QUADRUPLE). A second top shows lambda.
    """

    message = "margin_inner_product_param"
    family = "product"
    bottoms = 2
    tops = (1, 2)
    no_gradient_for = frozenset({1})
    is_pure = False
    differences = "of the forks (SphereFace)"

    def setup(self, *bottoms: Shape) -> None:
        if self.param.num_output < 1:
            raise NetError("num_output must be at least 1")
        self._axis = self.axis(self.param.axis, bottoms[0])
        self._inputs = math.prod(bottoms[0][self._axis :])
        self._iteration = self.param.iteration

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return [Parameter((self.param.num_output, self._inputs), self.param.weight_filler)]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        rows = math.prod(bottoms[0][: self._axis])
        if math.prod(bottoms[0][self._axis :]) != self._inputs or math.prod(bottoms[1]) != rows:
            raise ShapeError(
                f"{self._inputs} inputs and a label for each row are needed, but the bottoms' "
                f"shapes are {bottoms[0]} and {bottoms[1]}"
            )
        shapes: list[Shape] = [(*bottoms[0][: self._axis], self.param.num_output), (1,)]
        return shapes[: max(1, len(self.layer_param.top))]

    @property
    def weighting(self) -> float:
        """Lambda: how much the plain cosine still counts."""
        param = self.param
        falling = param.base * (1 + param.gamma * self._iteration) ** -param.power
        return float(max(falling, param.lambda_min))

    def forward(self, x: Tensor, labels: Tensor, weight: Tensor) -> Sequence[Tensor]:
        if self.phase == TRAIN and not self.runs_again:
            self._iteration += 1
        flat = x.reshape(-1, self._inputs)
        norm = flat.norm(dim=1, keepdim=True)
        plain = F.linear(flat, F.normalize(weight, dim=1, eps=TINY))
        margin = self.param.type + 1
        result = plain
        if margin > 1:
            index, _ = class_labels(self.layer_param, labels, self.param.num_output)
            own = plain.gather(1, index[:, None])
            cosine = (own / norm.clamp(min=TINY)).clamp(-1, 1)
            k = torch.floor(cosine.detach().acos() * margin / math.pi).clamp(max=margin - 1)
            psi = (1 - 2 * (k % 2)) * chebyshev(cosine, margin) - 2 * k
            weighting = self.weighting
            mixed = norm * (weighting * cosine + psi) / (1 + weighting)
            result = plain.scatter(1, index[:, None], mixed)
        tops = [result.reshape(*x.shape[: self._axis], -1), x.new_tensor([self.weighting])]
        return tops[: max(1, len(self.layer_param.top))]


def chebyshev(cosine: Tensor, times: int) -> Tensor:
    """Return cos(times * angle) from cos(angle)."""
    before, value = torch.ones_like(cosine), cosine
    for _ in range(times - 1):
        before, value = value, 2 * cosine * value - before
    return value


@register("CenterLoss")
class CenterLoss(Loss[CenterLossParameter]):
    """top = sum((x - centre of the label)^2) / (2 N) (Wen et al., 2016).

    The centres (num_output, inputs) are learned, each moved towards its class's mean: their
    gradient is the sum of centre - x over the class, by 1 and how many there are.
    """

    message = "center_loss_param"
    differences = "of the forks"

    def setup(self, *bottoms: Shape) -> None:
        if self.param.num_output < 1:
            raise NetError("num_output must be at least 1")
        self._inputs = math.prod(bottoms[0][self.axis(self.param.axis, bottoms[0]) :])

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return [Parameter((self.param.num_output, self._inputs), self.param.center_filler)]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        rows = math.prod(bottoms[0]) // max(1, self._inputs)
        if math.prod(bottoms[0]) != rows * self._inputs or math.prod(bottoms[1]) != rows:
            raise ShapeError(
                f"{self._inputs} inputs and a label for each row are needed, but the bottoms' "
                f"shapes are {bottoms[0]} and {bottoms[1]}"
            )
        return [()]

    def _distances(self, x: Tensor, labels: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
        index, _ = class_labels(self.layer_param, labels, self.param.num_output)
        return x.reshape(-1, self._inputs) - centers[index], index

    def forward(self, x: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
        distances, _ = self._distances(x, labels, centers)
        return distances.square().sum() / (2 * len(distances))

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        x, labels, centers = inputs
        distances, index = self._distances(x, labels, centers)
        sums = torch.zeros_like(centers).index_add_(0, index, distances)
        counts = torch.bincount(index, minlength=len(centers)).to(centers)
        moved = -sums / (counts + 1)[:, None]
        return [(diffs[0] / len(distances) * distances).reshape(x.shape), None, moved]
