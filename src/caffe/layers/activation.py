"""Element by element: the activation functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blob import Shape
from ..errors import ShapeError
from ..proto.caffe_pb2 import FillerParameter
from .layer import Layer, Parameter, register


@register("ReLU")
class ReLU(Layer):
    """top = max(x, 0) + negative_slope * min(x, 0)."""

    message = "relu_param"

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        slope = self.param.negative_slope
        return F.leaky_relu(x, slope) if slope else F.relu(x)


@register("PReLU")
class PReLU(Layer):
    """top = max(x, 0) + a * min(x, 0), the slope a being learned per channel (He et al., 2015)."""

    message = "prelu_param"
    keeps_bottom = True

    def setup(self, *bottoms: Shape) -> None:
        if len(bottoms[0]) < 2:
            raise ShapeError(f"PReLU needs a channel axis, but the bottom's shape is {bottoms[0]}")

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape = () if self.param.channel_shared else (bottoms[0][1],)
        filler = FillerParameter(type="constant", value=0.25)
        return [Parameter(shape, self.param.filler if self.param.HasField("filler") else filler)]

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:  # type: ignore[override]
        return F.prelu(x, slope.view(-1))


@register("Sigmoid")
class Sigmoid(Layer):
    """top = 1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.sigmoid(x)

    def backward(
        self,
        diffs: Sequence[Tensor],
        tops: Sequence[Tensor],
        inputs: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> Sequence[Tensor]:
        # From the top, so that it also holds in place.
        return [diffs[0] * tops[0] * (1 - tops[0])]
