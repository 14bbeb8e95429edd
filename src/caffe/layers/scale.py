"""Scale and Bias: a factor and a summand along some of the axes, learned or from a bottom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..errors import NetError, ShapeError
from ..logs import Line
from ..memory.blob import Blob, Shape
from ..proto.caffe_pb2 import BiasParameter, FillerParameter, ScaleParameter
from ..pytorch import torch
from .layer import Layer, Parameter, register

if TYPE_CHECKING:
    from torch import Tensor

A = TypeVar("A", bound=ScaleParameter | BiasParameter)
"""Scale's message, and Bias's."""


class AlongAxes(Layer[A]):
    """A layer whose operand spans `num_axes` axes of the bottom, from `axis` on.

    The operand is the second bottom, or else a parameter blob.
    """

    family = "normalization"
    bottoms = (1, 2)
    pointwise = True

    def setup(self, *bottoms: Shape) -> None:
        self.learned = len(bottoms) == 1
        if self.learned:
            self.operand_shape(bottoms[0])

    def operand_shape(self, bottom: Shape) -> Shape:
        """The learned operand's shape."""
        axis, count = self.axis(self.param.axis, bottom), self.param.num_axes
        if count < -1:
            raise NetError(f"num_axes must be -1 (all from axis on) or more, not {count}")
        if count > len(bottom) - axis:
            raise ShapeError(f"num_axes {count} from axis {axis} on reach past the shape {bottom}")
        return bottom[axis:] if count == -1 else bottom[axis : axis + count]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        operand = self.blobs[0].shape if self.learned else bottoms[1]
        axis = self.axis(self.param.axis, bottoms[0]) if operand else 0
        if bottoms[0][axis : axis + len(operand)] != operand:
            raise ShapeError(
                f"the operand's shape {operand} is not that of the bottom, {bottoms[0]}, "
                f"from axis {axis} on"
            )
        if any(blob.shape != operand for blob in self.blobs):
            raise ShapeError(
                f"the bias is made for the shape {self.blobs[0].shape}, "
                f"but the factor now has the shape {operand}"
            )
        return [bottoms[0]]

    @property
    def is_affine(self) -> bool:
        return self.learned and self.param.axis == 1 and len(self.blobs[0].shape) == 1

    def aligned(self, operand: Tensor, x: Tensor) -> Tensor:
        """View `operand` so that it spreads over `x`."""
        axis = self.param.axis % x.dim() if operand.dim() else 0
        return operand.view([*operand.shape, *[1] * (x.dim() - axis - operand.dim())])


@register("Scale")
class Scale(AlongAxes[ScaleParameter]):
    """top = scale * x (+ bias), the scale being the second bottom or learned."""

    message = "scale_param"
    is_affine = AlongAxes.is_affine
    keeps_bottom = True
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    def lines_at_setup(self, tops: Sequence[Blob]) -> Iterable[Line]:
        # The original's has a layer for the summand.
        if self.param.bias_term:
            yield "layer_factory.hpp:77", f"Creating layer {self.name}"

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        wanted = []
        shape = bottoms[1] if not self.learned else self.operand_shape(bottoms[0])
        if self.learned:
            unit = FillerParameter(type="constant", value=1)
            filler = self.param.filler if self.param.HasField("filler") else unit
            wanted.append(Parameter(shape, filler))
        if self.param.bias_term:
            wanted.append(Parameter(shape, self.param.bias_filler))
        return wanted

    def forward(self, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        scale = self.aligned(scale, x)
        return x * scale if bias is None else torch.addcmul(self.aligned(bias, x), x, scale)

    def affine(self, *params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return params[0], params[1] if len(params) > 1 else None


@register("Bias")
class Bias(AlongAxes[BiasParameter]):
    """top = x + bias, the bias being the second bottom or learned."""

    message = "bias_param"
    is_affine = AlongAxes.is_affine
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        if not self.learned:
            return []
        return [Parameter(self.operand_shape(bottoms[0]), self.param.filler)]

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + self.aligned(bias, x)

    def affine(self, *params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return None, params[0]
