"""Forks' sums and products of blobs of different shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import MulParameter
from ..pytorch import torch
from .layer import Layer, Parameter, register
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("Axpy")
class Axpy(Layer):
    """top = a * x + y, a being one factor for each channel of each item (Hu et al., 2017).

    The bottoms are a (N, C) or (N, C, 1, 1), and x and y (N, C, ...).
    """

    bottoms = 3
    differences = "of the forks"
    forbids_in_place = True
    pointwise = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        a, x, y = bottoms
        if x != y:
            raise ShapeError(f"x and y must have the same shape, but they are {x} and {y}")
        if len(x) < 2 or a[:2] != x[:2] or any(n != 1 for n in a[2:]):
            raise ShapeError(f"x of shape {x} needs factors of shape {(*x[:2], 1, 1)}, not {a}")
        return [x]

    def forward(self, a: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return torch.addcmul(y, a.reshape(*x.shape[:2], *[1] * (x.dim() - 2)), x)


@openvino.rule(Axpy)
def _axpy(layer: Axpy, graph: Graph, a: Value, x: Value, y: Value) -> Value:
    shape = graph.shape(x)
    factor = graph.shaped(a, (*shape[:2], *[1] * (len(shape) - 2)))
    return graph.ops.add(graph.ops.multiply(factor, x), y)


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that numpy's rule gives: the last axes agree, or one of them is 1.

    Raises
    ------
    ShapeError
        They do not.
    """
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        raise ShapeError(
            f"counted from the last one, axes must agree or be 1; the shapes are {shapes}"
        ) from None


@register("Add")
class Add(Layer):
    """top = a + b; axes of length 1, and axes that one has not, are repeated."""

    bottoms = 2
    differences = "of the forks"
    forbids_in_place = True
    pointwise = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return [broadcast(*bottoms)]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


@register("Mul")
class Mul(Layer[MulParameter]):
    """top = a * b, b being the second bottom or learned; axes are repeated as in Add."""

    message = "mul_param"
    bottoms = (1, 2)
    differences = "of the forks"
    forbids_in_place = True
    pointwise = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if min(self.param.mul_shape, default=1) < 1:
            raise NetError(f"mul_shape {list(self.param.mul_shape)} must hold positive numbers")

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return [Parameter(tuple(self.param.mul_shape))] if len(bottoms) == 1 else []

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return [broadcast(*bottoms, *[tuple(self.param.mul_shape)] * (len(bottoms) == 1))]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b
