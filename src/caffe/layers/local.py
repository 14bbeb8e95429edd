"""Local: kernels of their own at each place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import LocalParameter
from ..pytorch import F, torch
from .axes import picture_size
from .layer import Layer, Parameter, register

if TYPE_CHECKING:
    from torch import Tensor


@register("Local", "LocalConvolution")
class Local(Layer[LocalParameter]):
    """A convolution whose kernels differ from place to place (Taigman et al., DeepFace, 2014).

    The kernels have the shape (num_output, 1, channels * kernel_size ** 2, places), the biases
    (1, 1, num_output, places).
    """

    message = "local_param"
    family = "convolution"
    differences = "of the forks"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        if min(self.param.num_output, self.param.kernel_size, self.param.stride) < 1:
            raise NetError("num_output, kernel_size and stride must be at least 1")
        self._places = self._size(bottoms[0])

    def _size(self, shape: Shape) -> tuple[int, int]:
        sides = [
            (n + 2 * self.param.pad - self.param.kernel_size) // self.param.stride + 1
            for n in picture_size(shape)
        ]
        if min(sides) < 1:
            raise ShapeError(f"the kernel does not fit into a bottom of shape {shape}")
        return sides[0], sides[1]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        places = self._places[0] * self._places[1]
        taps = bottoms[0][1] * self.param.kernel_size**2
        wanted = [Parameter((self.param.num_output, 1, taps, places), self.param.weight_filler)]
        if self.param.bias_term:
            shape = (1, 1, self.param.num_output, places)
            wanted.append(Parameter(shape, self.param.bias_filler))
        return wanted

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if self._size(bottoms[0]) != self._places:
            raise ShapeError(
                f"the kernels are for {self._places} places, but a bottom of shape {bottoms[0]} "
                f"has {self._size(bottoms[0])}"
            )
        taps = bottoms[0][1] * self.param.kernel_size**2
        if self.blobs and self.blobs[0].shape[2] != taps:
            raise ShapeError(
                f"the kernels are for {self.blobs[0].shape[2] // self.param.kernel_size**2} "
                f"channels, but the bottom now has {bottoms[0][1]}"
            )
        return [(bottoms[0][0], self.param.num_output, *self._places)]

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        param = self.param
        columns = F.unfold(x, param.kernel_size, padding=param.pad, stride=param.stride)
        y = torch.einsum("ntp,otp->nop", columns, weight[:, 0])
        if bias is not None:
            y = y + bias[0]
        return y.reshape(len(x), -1, *self._places)
