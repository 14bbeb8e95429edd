"""C3D's layers on clips (num, channels, time, height, width)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import ConvolutionParameter, LayerParameter, PoolingParameter
from ..pytorch import F
from .convolution import Convolution, Deconvolution, Kernels
from .layer import Layer, register
from .pooling import LOWEST
from .reach import Alignment

if TYPE_CHECKING:
    from torch import Tensor

TIME, HEIGHT, WIDTH = range(3)


def clip_sizes(shape: Shape) -> Shape:
    """Return time, height and width of a bottom of this shape.

    Raises
    ------
    ShapeError
        It has not 5 axes.
    """
    if len(shape) != 5:
        raise ShapeError(
            f"the bottom must have 5 axes (num, channels, time, height, width), not {shape}"
        )
    return shape[2:]


class OverClips(Kernels):
    """Windows whose sizes are said as C3D says them.

    kernel_size, pad and stride are those of height and width; kernel_depth, temporal_pad and
    temporal_stride those of time. Or kernel_shape, pad_shape and stride_shape name all three.
    """

    # What is said of time has names of its own, which coordinate maps do not know.
    alignment: ClassVar[Alignment | None] = None
    differences = "of the C3D forks"

    def setup(self, *bottoms: Shape) -> None:
        clip_sizes(bottoms[0])
        super().setup(*bottoms)

    def _sizes(self, name: str, short: str | None, axes: int, default: int | None) -> Shape:
        shaped = {"kernel_size": "kernel", "stride": "stride", "pad": "pad"}.get(name)
        if axes != 3 or shaped is None:
            return super()._sizes(name, short, axes, default)
        return three_sizes(self.param, shaped, super()._sizes(name, short, 2, default or 0))


def three_sizes(param: ConvolutionParameter | PoolingParameter, what: str, two: Shape) -> Shape:
    """Return a size for time, height and width, from any of C3D's ways to say it."""
    whole = f"{what}_shape"
    if param.HasField(whole):
        dims = tuple(getattr(param, whole).dim)
        if len(dims) != 3:
            raise NetError(f"{whole} must have three dim, not {len(dims)}")
        return dims
    time = {"kernel": "kernel_depth", "stride": "temporal_stride", "pad": "temporal_pad"}[what]
    return (getattr(param, time), *two)


@register("Convolution3D", "NdConvolution")
class Convolution3D(OverClips, Convolution):
    """A Convolution over time, height and width (Tran et al., C3D, 2015)."""

    trains_unseen = True

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        return cls


@register("Deconvolution3D", "NdDeconvolution")
class Deconvolution3D(OverClips, Deconvolution):
    """A Deconvolution over time, height and width."""

    asks_no_values = True


@register("Pooling3D", "NdPooling")
class Pooling3D(Layer[PoolingParameter]):
    """The largest value (MAX) or the mean (AVE) of windows over time, height and width (C3D).

    Sizes are rounded up, and a last window that would start in the padding is dropped, as in
    Pooling.
    """

    message = "pooling_param"
    family = "pooling"
    differences = "of the C3D forks"
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        clip_sizes(bottoms[0])
        param = self.param
        if param.pool not in (PoolingParameter.MAX, PoolingParameter.AVE):
            raise NetError("pool must be MAX or AVE")
        self._kernel = three_sizes(param, "kernel", self._pair("kernel_size", "kernel"))
        self._stride = three_sizes(param, "stride", self._pair("stride", "stride"))
        self._pad = three_sizes(param, "pad", self._pair("pad", "pad"))
        if min(*self._kernel, *self._stride) < 1:
            raise NetError("kernel_size (or kernel_shape) must be given; stride is at least 1")
        if any(p >= k for p, k in zip(self._pad, self._kernel, strict=True)):
            raise NetError(f"pad {self._pad} must be smaller than the kernel {self._kernel}")

    def _pair(self, name: str, short: str) -> Shape:
        if self.param.HasField(f"{short}_h") and self.param.HasField(f"{short}_w"):
            return getattr(self.param, f"{short}_h"), getattr(self.param, f"{short}_w")
        return (getattr(self.param, name),) * 2

    def _out_sizes(self, shape: Shape) -> Shape:
        sizes = []
        for size, k, s, p in zip(
            clip_sizes(shape), self._kernel, self._stride, self._pad, strict=True
        ):
            count = math.ceil((size + 2 * p - k) / s) + 1
            if any(self._pad) and (count - 1) * s >= size + p:
                count -= 1
            sizes.append(count)
        return tuple(sizes)

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        sizes = self._out_sizes(bottoms[0])
        if min(sizes) < 1:
            raise ShapeError(f"the kernel {self._kernel} does not fit into {bottoms[0]}")
        return [(*bottoms[0][:2], *sizes)]

    def forward(self, x: Tensor) -> Tensor:
        sides: list[int] = []
        counted: list[int] = []
        outs = self._out_sizes(tuple(x.shape))
        for size, k, s, p, out in zip(
            reversed(x.shape[2:]),
            reversed(self._kernel),
            reversed(self._stride),
            reversed(self._pad),
            reversed(outs),
            strict=True,
        ):
            end = (out - 1) * s + k
            sides += [p, end - p - size]
            counted += [p, min(end - p - size, p)]
        if self.param.pool == PoolingParameter.MAX:
            return F.max_pool3d(F.pad(x, sides, value=LOWEST), self._kernel, self._stride)
        # What lies behind the padding does not count into the mean.
        sums = F.avg_pool3d(F.pad(x, sides), self._kernel, self._stride)
        inside = F.pad(x.new_ones(1, 1, *x.shape[2:]), counted, value=1)
        rest = [b - a for a, b in zip(counted, sides, strict=True)]
        share = F.avg_pool3d(F.pad(inside, rest), self._kernel, self._stride)
        return sums / share
