"""Softmax: scores made into probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..memory.blob import Shape
from ..proto.caffe_pb2 import SoftmaxParameter
from ..pytorch import torch
from .layer import Layer, Tensors, register
from .reach import Reach, same_place
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("Softmax")
class Softmax(Layer[SoftmaxParameter]):
    """top = exp(x) / sum of exp(x) along `axis`."""

    message = "softmax_param"
    takes_scores = True
    family = "loss"
    ignores_propagate_down = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        self.axis(self.param.axis, bottoms[0])
        return [bottoms[0]]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return same_place(bottom) if self.axis(self.param.axis, bottom) < 2 else None

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, self.param.axis)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # From the top, so that it also holds in place.
        d, y = diffs[0], tops[0]
        return [(d - (d * y).sum(self.param.axis, keepdim=True)) * y]


@openvino.rule(Softmax)
def _softmax(layer: Softmax, graph: Graph, x: Value) -> Value:
    return graph.ops.softmax(x, layer.axis(layer.param.axis, graph.shape(x)))
