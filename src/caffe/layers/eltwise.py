"""Eltwise: several blobs of one shape joined number by number."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import EltwiseParameter
from ..pytorch import torch
from .layer import Layer, register
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("Eltwise")
class Eltwise(Layer[EltwiseParameter]):
    """top = the product (PROD), the sum by coeff (SUM, the default) or the largest (MAX).

    FlowNet multiplies a single bottom by its coeff.
    """

    message = "eltwise_param"
    bottoms = (1, None)
    differences = "one bottom with its coeff, as FlowNet has it"
    keeps_bottom = True
    pointwise = True
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        coeff = self.param.coeff
        if len(bottoms) == 1 and (not coeff or self.param.operation != EltwiseParameter.SUM):
            raise NetError("the layer takes 2 or more bottoms, or for a SUM one and its coeff")
        if coeff and self.param.operation == EltwiseParameter.PROD:
            raise NetError("coeff is for the operation SUM, not for PROD")
        if coeff and len(coeff) != len(bottoms):
            raise NetError(f"give one coeff per bottom: {len(coeff)} for {len(bottoms)} bottoms")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if any(shape != bottoms[0] for shape in bottoms):
            raise ShapeError(f"all bottoms must have the same shape, but they are {bottoms}")
        return [bottoms[0]]

    def forward(self, *xs: Tensor) -> Tensor:
        if self.param.operation == EltwiseParameter.PROD:
            return reduce(torch.mul, xs)
        if self.param.operation == EltwiseParameter.SUM:
            coeff = self.param.coeff or [1.0] * len(xs)
            if len(xs) == 1:
                return xs[0] * coeff[0]
            return reduce(
                torch.add, (x if c == 1 else x * c for x, c in zip(xs, coeff, strict=True))
            )
        # Of two equal ones the second is taken, of a later one and an earlier the earlier.
        largest = torch.where(xs[0] > xs[1], xs[0], xs[1])
        return reduce(lambda top, x: torch.where(x > top, x, top), xs[2:], largest)


@openvino.rule(Eltwise)
def _eltwise(layer: Eltwise, graph: Graph, *xs: Value) -> Value:
    joined = {
        EltwiseParameter.PROD: graph.ops.multiply,
        EltwiseParameter.SUM: graph.ops.add,
        EltwiseParameter.MAX: graph.ops.maximum,
    }[layer.param.operation]
    if layer.param.operation == EltwiseParameter.SUM and layer.param.coeff:
        xs = tuple(
            x if c == 1 else graph.ops.multiply(x, graph.constant(c))
            for x, c in zip(xs, layer.param.coeff, strict=True)
        )
    return reduce(joined, xs)
