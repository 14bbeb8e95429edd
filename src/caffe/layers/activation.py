"""Element by element: the activation functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import (
    ClipParameter,
    ELUParameter,
    FillerParameter,
    HardSigmoidParameter,
    HardSwishParameter,
    LayerParameter,
    MishParameter,
    PReLUParameter,
    ReLU6Parameter,
    ReLUParameter,
    SwishParameter,
    ThresholdParameter,
)
from ..pytorch import F, torch
from .layer import Activation, Layer, Parameter, Tensors, register
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("ReLU")
class ReLU(Layer[ReLUParameter]):
    """top = max(x, 0) + negative_slope * min(x, 0)."""

    message = "relu_param"
    family = "activation"
    differences = "relu6, maximum and minimum of the forks"
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        param = layer_param.relu_param
        return BoundedReLU if param.relu6 or param.maximum > 0 or param.minimum else cls

    @property
    def activation(self) -> Activation:
        return Activation(self.param.negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return _relu_of(x, self.param.negative_slope)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        # By the top, whose sign is the bottom's.
        slope = self.param.negative_slope
        if slope < 0:
            return super().backward(diffs, tops, inputs, needs)
        if slope == 0:
            return [torch.ops.aten.threshold_backward(diffs[0], tops[0], 0)]
        return [torch.ops.aten.leaky_relu_backward(diffs[0], tops[0], slope, True)]


def _relu_of(x: Tensor, slope: float) -> Tensor:
    # 0 times infinity is no number.
    return F.leaky_relu(x, slope) if slope else F.relu(x)


R = TypeVar("R", bound=ReLUParameter | ReLU6Parameter)
"""The messages of ReLU and of ReLU6."""


@openvino.rule(ReLU)
def _relu(layer: ReLU | BoundedReLU[Any], graph: Graph, x: Value) -> Value:
    slope = layer.param.negative_slope
    return graph.ops.prelu(x, graph.constant([slope])) if slope else graph.ops.relu(x)


class BoundedReLU(Layer[R]):
    """ReLU, held between the `minimum` and the `maximum` that forks' fields give."""

    message = "relu_param"
    family = "activation"
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    def bounds(self) -> tuple[float, float]:
        """Return the least and the largest value."""
        param = self.layer_param.relu_param
        most = param.maximum if param.maximum > 0 else math.inf
        return param.minimum or -math.inf, min(most, 6) if param.relu6 else most

    @property
    def activation(self) -> Activation | None:
        least, most = self.bounds()
        return Activation(self.param.negative_slope, least, most) if least <= most else None

    def forward(self, x: Tensor) -> Tensor:
        least, most = self.bounds()
        return _relu_of(x, self.param.negative_slope).clamp(max=most).clamp(min=least)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # Strictly within the bounds, so that it also holds in place.
        (x,) = inputs
        least, most = self.bounds()
        slope = torch.where(x > 0, 1.0, self.param.negative_slope).to(x)
        return [diffs[0] * slope * ((x < most) & (x > least))]


@register("ReLU6")
class ReLU6(BoundedReLU[ReLU6Parameter]):
    """top = min(max(x, 0) + negative_slope * min(x, 0), 6)."""

    message = "relu6_param"
    differences = "of the forks"
    takes_short_numbers = True
    asks_no_values = True

    activation = BoundedReLU[ReLU6Parameter].activation

    def bounds(self) -> tuple[float, float]:
        return -math.inf, 6


@openvino.rule(BoundedReLU, ReLU6)
def _bounded_relu(layer: BoundedReLU[Any], graph: Graph, x: Value) -> Value:
    least, most = (max(-3e38, min(bound, 3e38)) for bound in layer.bounds())
    return graph.ops.clamp(_relu(layer, graph, x), least, max(least, most))


@register("PReLU")
class PReLU(Layer[PReLUParameter]):
    """top = max(x, 0) + a * min(x, 0), the slope a learned per channel (He et al., 2015)."""

    message = "prelu_param"
    family = "activation"
    keeps_bottom = True
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        self.top_shapes(*bottoms)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape = () if self.param.channel_shared else (bottoms[0][1],)
        default = FillerParameter(type="constant", value=0.25)
        return [Parameter(shape, self.param.filler if self.param.HasField("filler") else default)]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms[0]) < 2:
            raise ShapeError(f"PReLU needs a channel axis, but the bottom's shape is {bottoms[0]}")
        if not self.param.channel_shared and self.blobs and bottoms[0][1] != self.blobs[0].count:
            raise ShapeError(
                f"the bottom now has {bottoms[0][1]} channels, but the slopes are for "
                f"{self.blobs[0].count}"
            )
        return [bottoms[0]]

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        return F.prelu(x, slope.view(-1))


@openvino.rule(PReLU)
def _prelu(layer: PReLU, graph: Graph, x: Value) -> Value:
    return graph.ops.prelu(x, graph.parameter(layer, 0, (-1,)))


@register("ELU")
class ELU(Layer[ELUParameter]):
    """top = x where x > 0, else alpha * (exp(x) - 1) (Clevert et al., 2015)."""

    message = "elu_param"
    family = "activation"
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.param.alpha * torch.expm1(x.clamp(max=0)))

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # From the top where x is negative, so that it also holds in place.
        slope = torch.where(inputs[0] > 0, torch.ones_like(tops[0]), tops[0] + self.param.alpha)
        return [diffs[0] * slope]


@openvino.rule(ELU)
def _elu(layer: ELU, graph: Graph, x: Value) -> Value:
    return graph.ops.elu(x, layer.param.alpha)


@register("Sigmoid")
class Sigmoid(Layer):
    """top = 1 / (1 + exp(-x))."""

    family = "activation"
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # From the top, so that it also holds in place.
        return [diffs[0] * tops[0] * (1 - tops[0])]


@openvino.rule(Sigmoid)
def _sigmoid(layer: Sigmoid, graph: Graph, x: Value) -> Value:
    return graph.ops.sigmoid(x)


@register("TanH")
class TanH(Layer):
    """top = tanh(x)."""

    family = "activation"
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # From the top, so that it also holds in place.
        return [diffs[0] * (1 - tops[0] * tops[0])]


@openvino.rule(TanH)
def _tanh(layer: TanH, graph: Graph, x: Value) -> Value:
    return graph.ops.tanh(x)


@register("BNLL")
class BNLL(Layer):
    """top = log(1 + exp(x))."""

    family = "activation"
    pointwise = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, threshold=50)


@register("AbsVal")
class AbsVal(Layer):
    """top = |x|."""

    family = "activation"
    forbids_in_place = True
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


@openvino.rule(AbsVal)
def _abs(layer: AbsVal, graph: Graph, x: Value) -> Value:
    return graph.ops.absolute(x)


@register("Swish")
class Swish(Layer[SwishParameter]):
    """top = x * sigmoid(beta * x) (Ramachandran et al., 2017)."""

    message = "swish_param"
    family = "activation"
    keeps_bottom = True
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.param.beta * x)


@register("Mish")
class Mish(Layer[MishParameter]):
    """top = x * tanh(log(1 + exp(x))) (Misra, 2019)."""

    message = "mish_param"
    family = "activation"
    keeps_bottom = True
    differences = "of the forks"
    pointwise = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(x)


@register("HardSigmoid")
class HardSigmoid(Layer[HardSigmoidParameter]):
    """top = alpha * x + beta, but at least 0 and at most 1."""

    message = "hard_sigmoid_param"
    family = "activation"
    keeps_bottom = True
    differences = "of the forks"
    pointwise = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return (self.param.alpha * x + self.param.beta).clamp(0, 1)


@register("HardSwish")
class HardSwish(Layer[HardSwishParameter]):
    """top = x * min(max(x + 3, 0), 6) / 6 (Howard et al., 2019)."""

    message = "hard_swish_param"
    family = "activation"
    keeps_bottom = True
    differences = "of the forks"
    pointwise = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return x * (x + 3).clamp(0, 6) / 6


@register("Threshold")
class Threshold(Layer[ThresholdParameter]):
    """top = 1 where x > threshold, else 0; it has no gradient."""

    message = "threshold_param"
    family = "activation"
    has_gradient = False
    no_gradient_for = frozenset({0})
    pointwise = True
    asks_no_values = True

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.param.threshold).to(x.dtype)


@register("Clip")
class Clip(Layer[ClipParameter]):
    """top = x, but at least `min` and at most `max`."""

    message = "clip_param"
    family = "activation"
    pointwise = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        for name in ("min", "max"):
            if not self.param.HasField(name):
                raise NetError(f"clip_param needs {name}")

    @property
    def activation(self) -> Activation:
        return Activation(1.0, self.param.min, max(self.param.min, self.param.max))

    def forward(self, x: Tensor) -> Tensor:
        least, most = self.param.min, self.param.max
        return x.clamp(least, max(least, most))


@openvino.rule(Clip)
def _clip(layer: Clip, graph: Graph, x: Value) -> Value:
    return graph.ops.clamp(x, layer.param.min, max(layer.param.min, layer.param.max))
