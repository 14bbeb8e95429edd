"""Element by element: powers, exponentials, logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import NetError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import ExpParameter, LogParameter, PowerParameter
from ..pytorch import torch
from .layer import Layer, Tensors, register
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("Power")
class Power(Layer[PowerParameter]):
    """top = (shift + scale * x) ** power."""

    message = "power_param"
    family = "activation"
    keeps_bottom = True
    pointwise = True
    takes_short_numbers = True
    asks_no_values = True

    @property
    def stays_finite(self) -> bool:
        return self.param.power >= 0 and float(self.param.power).is_integer()

    def forward(self, x: Tensor) -> Tensor:
        power, scale, shift = self.param.power, self.param.scale, self.param.shift
        if scale * power == 0:
            return torch.full_like(x, 1.0 if power == 0 else _power(shift, power))
        inner = x * scale + shift if shift else x * scale if scale != 1 else x
        return inner if power == 1 else inner.pow(power)


@openvino.rule(
    Power, unless=lambda layer, x: None if layer.param.scale * layer.param.power else "a constant"
)
def _openvino_power(layer: Power, graph: Graph, x: Value) -> Value:
    power, scale, shift = layer.param.power, layer.param.scale, layer.param.shift
    y = graph.ops.add(graph.ops.multiply(x, graph.constant(scale)), graph.constant(shift))
    return y if power == 1 else graph.ops.power(y, graph.constant(power))


def _power(base: float, exponent: float) -> float:
    """base ** exponent as C has it: infinite or not a number where Python raises."""
    return float(torch.tensor(base, dtype=torch.float64).pow(exponent))


@register("Exp")
class Exp(Layer[ExpParameter]):
    """top = base ** (shift + scale * x); the base is e where it is given as -1."""

    message = "exp_param"
    family = "activation"
    pointwise = True
    asks_no_values = True

    @property
    def stays_finite(self) -> bool:
        # Powers grow beyond all numbers soon.
        return False

    def setup(self, *bottoms: Shape) -> None:
        _check_base(self.param.base)

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp((x * self.param.scale + self.param.shift) * _log(self.param.base))

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # From the top, so that it also holds in place.
        return [diffs[0] * tops[0] * (self.param.scale * _log(self.param.base))]


@register("Log")
class Log(Layer[LogParameter]):
    """top = log(shift + scale * x) to the base; the base is e where it is given as -1."""

    message = "log_param"
    family = "activation"
    keeps_bottom = True
    pointwise = True
    asks_no_values = True

    @property
    def stays_finite(self) -> bool:
        return False

    def setup(self, *bottoms: Shape) -> None:
        _check_base(self.param.base)
        if self.param.base == 1:
            raise NetError("there are no logarithms to the base 1")

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x * self.param.scale + self.param.shift) / _log(self.param.base)


def _check_base(base: float) -> None:
    if base != -1 and base <= 0:
        raise NetError(f"base must be positive (or -1, which means e), not {base:g}")


def _log(base: float) -> float:
    return 1.0 if base == -1 else math.log(base)
