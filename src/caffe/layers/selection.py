"""Choosing and summing up: ArgMax, Reduction, BatchReindex, Filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import CaffeError, NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import ArgMaxParameter, LayerParameter, ReductionParameter
from ..pytorch import torch
from .asking import is_any
from .layer import Layer, register

if TYPE_CHECKING:
    from torch import Tensor


@register("ArgMax")
class ArgMax(Layer[ArgMaxParameter]):
    """Where the `top_k` largest values are, along `axis` or in each picture as a whole.

    Without an axis the top is (num, 1, top_k); with out_max_val it is (num, 2, top_k), places
    before values. With an axis it holds the places, or with out_max_val the values.
    """

    message = "argmax_param"
    has_gradient = False
    no_gradient_for = frozenset({0})
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        choices = self._choices(bottoms[0])
        if not 1 <= self.param.top_k <= choices:
            raise NetError(f"top_k must be 1 to {choices}, not {self.param.top_k}")

    def _choices(self, shape: Shape) -> int:
        if self.param.HasField("axis"):
            return shape[self.axis(self.param.axis, shape)]
        if not shape:
            raise ShapeError("the bottom needs at least one axis")
        return math.prod(shape[1:])

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shape = bottoms[0]
        if self.param.HasField("axis"):
            axis = self.axis(self.param.axis, shape)
            return [(*shape[:axis], self.param.top_k, *shape[axis + 1 :])]
        rows = 2 if self.param.out_max_val else 1
        return [(shape[0], rows, self.param.top_k, *[1] * (len(shape) - 3))]

    def forward(self, x: Tensor) -> Tensor:
        axis = self.param.axis % x.dim() if self.param.HasField("axis") else 1
        rows = x if self.param.HasField("axis") else x.reshape(len(x), -1)
        # Of equal values the later one comes first, as in Caffe.
        backwards = rows.flip(axis)
        if self.param.top_k == 1:
            values, places = backwards.max(axis, keepdim=True)
        else:
            values, places = torch.sort(backwards, dim=axis, descending=True, stable=True)
            values = values.narrow(axis, 0, self.param.top_k)
            places = places.narrow(axis, 0, self.param.top_k)
        places = (rows.shape[axis] - 1 - places).to(x.dtype)
        if self.param.HasField("axis"):
            return values if self.param.out_max_val else places
        chosen = torch.stack([places, values], 1) if self.param.out_max_val else places[:, None]
        return chosen.view(*chosen.shape, *[1] * (x.dim() - 3))


@register("Reduction")
class Reduction(Layer[ReductionParameter]):
    """coeff * the sum (SUM), of absolute values (ASUM), of squares (SUMSQ), or the mean (MEAN).

    Over all axes from `axis` on.
    """

    message = "reduction_param"
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return [bottoms[0][: self.axis(self.param.axis, bottoms[0])]]

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[: self.param.axis % x.dim()]
        rows = x.reshape(math.prod(lead), -1)
        operation = self.param.operation
        if operation == ReductionParameter.ASUM:
            rows = rows.abs()
        elif operation == ReductionParameter.SUMSQ:
            rows = rows * rows
        y = rows.mean(1) if operation == ReductionParameter.MEAN else rows.sum(1)
        return (self.param.coeff * y).view(lead)


@register("BatchReindex")
class BatchReindex(Layer):
    """The first bottom's entries in the order, and as often, as the second one names them."""

    bottoms = 2
    no_gradient_for = frozenset({1})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms[1]) != 1:
            raise ShapeError(f"the second bottom must have one axis, not the shape {bottoms[1]}")
        return [(bottoms[1][0], *bottoms[0][1:])]

    def forward(self, x: Tensor, order: Tensor) -> Tensor:
        index = order.detach().to(torch.int64)
        wrong = (index < 0) | (index >= len(x))
        if is_any(wrong):
            place = int(wrong.nonzero()[0])
            raise CaffeError(
                f"bottom 1 holds {float(order[place]):g} at [{place}], but bottom 0 has "
                f"the entries 0 to {len(x) - 1}"
            )
        return x.index_select(0, index)


@register("Filter")
class Filter(Layer):
    """The entries of all bottoms but the last for which the last one is not zero.

    How many these are is known only at forward; until then the tops are as long as the bottoms.
    """

    bottoms = (2, None)
    tops = (1, None)

    def __init__(self, layer_param: LayerParameter) -> None:
        super().__init__(layer_param)
        self.no_gradient_for = frozenset({len(layer_param.bottom) - 1})

    @property
    def is_pure(self) -> bool:
        # The tops' shapes depend on the selector's values.
        return False

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        *filtered, selector = bottoms
        if len(self.layer_param.top) != len(filtered):
            raise NetError(
                f"{len(filtered)} bottoms are filtered by the last one, "
                f"but there are {len(self.layer_param.top)} tops"
            )
        if any(size != 1 for size in selector[1:]):
            raise ShapeError(f"the last bottom may have only its first axis, not {selector}")
        if any(shape[:1] != selector[:1] for shape in filtered):
            raise ShapeError(f"all bottoms must be of one length; their shapes are {bottoms}")
        return filtered

    def forward(self, *inputs: Tensor) -> Sequence[Tensor]:
        index = inputs[-1].detach().flatten().nonzero().flatten()
        return [x.index_select(0, index) for x in inputs[:-1]]
