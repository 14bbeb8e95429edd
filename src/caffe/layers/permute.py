"""Other orders: of a blob's axes, and of its places and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import PermuteParameter, ReorgParameter
from .layer import Layer, register
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("Permute")
class Permute(Layer[PermuteParameter]):
    """The bottom's axes in the given `order`; those that it does not name follow (SSD)."""

    message = "permute_param"
    rearranges = True
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        order, axes = list(self.param.order), len(bottoms[0])
        if any(axis >= axes for axis in order):
            raise ShapeError(
                f"order {order} names an axis that a bottom of shape {bottoms[0]} has not"
            )
        if len(set(order)) != len(order):
            raise NetError(f"order {order} names an axis twice")
        self.order = [*order, *(axis for axis in range(axes) if axis not in order)]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms[0]) != len(self.order):
            raise ShapeError(
                f"the bottom now has the shape {bottoms[0]}, but the order is {self.order}"
            )
        return [tuple(bottoms[0][axis] for axis in self.order)]

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order).contiguous()


@openvino.rule(Permute)
def _permute(layer: Permute, graph: Graph, x: Value) -> Value:
    return graph.ops.transpose(x, graph.integers(layer.order))


@register("Reorg")
class Reorg(Layer[ReorgParameter]):
    """(C, H, W) to (C s^2, H / s, W / s), or back with `reverse`, s being `stride` (YOLO v2).

    The numbers go where darknet puts them: it reads the blob as if it were (C / s^2, H s, W s),
    takes each s x s square apart, and writes (C, H, W) in that order.
    """

    message = "reorg_param"
    rearranges = True
    forbids_in_place = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        stride, reverse = self.param.stride, self.param.reverse
        if stride < 1:
            raise NetError(f"stride must be at least 1, not {stride}")
        if len(bottoms[0]) != 4:
            raise ShapeError(
                f"the bottom must have 4 axes (num, channels, height, width), not {bottoms[0]}"
            )
        num, channels, height, width = bottoms[0]
        if channels % (stride * stride):
            raise ShapeError(f"{channels} channels do not divide by stride^2 = {stride * stride}")
        if reverse:
            return [(num, channels // stride**2, height * stride, width * stride)]
        if height % stride or width % stride:
            raise ShapeError(f"height and width of {bottoms[0]} do not divide by stride {stride}")
        return [(num, channels * stride**2, height // stride, width // stride)]

    def forward(self, x: Tensor) -> Tensor:
        s = self.param.stride
        num, channels, height, width = x.shape
        small = channels // (s * s)
        if self.param.reverse:
            # Channel k is (row in the square, column in it, k of the small ones).
            parts = x.reshape(num, s, s, small, height, width).permute(0, 3, 4, 1, 5, 2)
        else:
            parts = x.reshape(num, small, height, s, width, s).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(self.top_shapes(tuple(x.shape))[0])
