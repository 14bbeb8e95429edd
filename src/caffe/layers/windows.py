"""Windows that slide over pictures: their sizes and padding, and what they see, as a layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import TypeVar

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import ConvolutionParameter, DeformableConvolutionParameter
from ..pytorch import F
from .description import Count
from .layer import Layer, register
from .reach import Alignment, Reach

if TYPE_CHECKING:
    from torch import Tensor

SIDES = "lrtb"
"""Left, right, top and bottom, as forks' fields pad_l to pad_b name them."""

C = TypeVar(
    "C", bound=ConvolutionParameter | DeformableConvolutionParameter, default=ConvolutionParameter
)
"""The messages of layers with windows."""


class Windowed(Layer[C]):
    """A layer whose windows slide over the axes behind the channel axis.

    Attributes
    ----------
    channel_axis : int
        The axis of the channels; those before it are the batch, those behind it are slid over.
    kernel, stride, pad, dilation : tuple of int
        One for each axis slid over.
    """

    message = "convolution_param"
    family = "convolution"
    alignment: ClassVar[Alignment | None] = Alignment.WINDOWS
    bottoms: ClassVar[Count] = (1, None)
    tops: ClassVar[Count] = (1, None)
    equal_tops = True

    def setup(self, *bottoms: Shape) -> None:
        self.channel_axis = self.axis(self.param.axis, bottoms[0])
        axes = len(bottoms[0]) - self.channel_axis - 1
        self.channels = bottoms[0][self.channel_axis]
        self.kernel = self._sizes("kernel_size", "kernel", axes, None)
        self.stride = self._sizes("stride", "stride", axes, 1)
        self.pad = self._sizes("pad", "pad", axes, 0)
        self.dilation = self._sizes("dilation", None, axes, 1)
        self._read_holes(axes)
        for what in ("kernel", "stride", "dilation"):
            if min(getattr(self, what), default=1) < 1:
                raise NetError(f"every {what} must be at least 1, not {getattr(self, what)}")

    def _read_holes(self, axes: int) -> None:
        """Take `hole`, as DeepLab's first version says dilation."""
        param = self.layer_param.convolution_param
        if not any(map(param.HasField, ("hole", "hole_h", "hole_w"))):
            return
        if param.dilation or axes != 2:
            raise NetError("hole goes with two axes to slide over, and not with dilation")
        if param.HasField("hole_h") != param.HasField("hole_w") or (
            param.HasField("hole") and param.HasField("hole_h")
        ):
            raise NetError("give hole, or hole_h and hole_w both")
        self.dilation = (param.hole_h, param.hole_w)
        if param.HasField("hole"):
            self.dilation = (param.hole, param.hole)

    def _sizes(self, name: str, short: str | None, axes: int, default: int | None) -> Shape:
        """Read `name`, given once, once per axis, or as `short`_h and `short`_w."""
        sizes = tuple(getattr(self.param, name))
        if short is not None and (
            self.param.HasField(f"{short}_h") or self.param.HasField(f"{short}_w")
        ):
            if sizes:
                raise NetError(f"give {name} or {short}_h and {short}_w, not both")
            if axes != 2:
                raise NetError(f"{short}_h and {short}_w need two axes to slide over, not {axes}")
            return getattr(self.param, f"{short}_h"), getattr(self.param, f"{short}_w")
        if not sizes and default is not None:
            sizes = (default,)
        if len(sizes) == 1:
            return sizes * axes
        if len(sizes) != axes:
            raise NetError(
                f"give {name} once or once for each of the {axes} axes slid over, "
                f"not {len(sizes)} times"
            )
        return sizes

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        first = bottoms[0]
        if len(first) != self.channel_axis + 1 + len(self.kernel):
            raise ShapeError(f"the bottom's shape {first} has another number of axes than at first")
        if any(shape != first for shape in bottoms):
            raise ShapeError(f"all bottoms must have the same shape, but they are {bottoms}")
        if first[self.channel_axis] != self.channels:
            raise ShapeError(
                f"the bottom of shape {first} has {first[self.channel_axis]} channels on axis "
                f"{self.channel_axis}, but the layer was made for {self.channels}"
            )
        spatial = first[self.channel_axis + 1 :]
        shape = (*first[: self.channel_axis], self.out_channels, *self.out_sizes(spatial))
        if min(self.out_sizes(spatial), default=1) < 1:
            raise ShapeError(
                f"the kernel {self.kernel} (dilation {self.dilation}) does not fit into the "
                f"bottom's {spatial} with pad {self.pad}"
            )
        return [shape] * len(bottoms)

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        if self.channel_axis != 1:
            return None
        sizes = zip(self.extent, self.stride, self.pad, strict=True)
        return [Reach(extent, Fraction(stride), Fraction(-pad)) for extent, stride, pad in sizes]

    @property
    def extent(self) -> Shape:
        """How far one window reaches, holes counted."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def out_sizes(self, spatial: Shape) -> Shape:
        """How many windows along each axis: (size + 2 pad - extent) / stride, towards 0, + 1."""
        return tuple(
            int((size + 2 * p - e) / s) + 1
            for size, p, e, s in zip(spatial, self.pad, self.extent, self.stride, strict=True)
        )

    def reaching(self, x: Tensor) -> Tensor:
        """Lengthen `x` by zeros where even the first window reaches past it.

        As the number of windows is rounded towards zero, there is such a window as long as it
        reaches past the end by less than a stride.
        """
        sizes = zip(x.shape[2:], self.pad, self.extent, strict=True)
        short = [max(0, e - size - 2 * p) for size, p, e in sizes]
        return F.pad(x, [n for s in reversed(short) for n in (0, s)]) if any(short) else x

    @property
    def out_channels(self) -> int:
        """The tops' channels."""
        raise NotImplementedError

    def windows(self, x: Tensor) -> Tensor:
        """Return (batch, channels, *out, *kernel) for x of shape (batch, channels, *spatial)."""
        x = F.pad(self.reaching(x), [p for pad in reversed(self.pad) for p in (pad, pad)])
        for i, (e, s, d) in enumerate(zip(self.extent, self.stride, self.dilation, strict=True)):
            x = x.unfold(2 + i, e, s)[..., ::d]
        return x

    def batched(self, x: Tensor) -> Tensor:
        """Fold the axes before the channels into one."""
        return x if self.channel_axis == 1 else x.reshape(-1, *x.shape[self.channel_axis :])

    def unbatched(self, y: Tensor, x: Tensor) -> Tensor:
        """Unfold them again as in `x`."""
        if self.channel_axis == 1:
            return y
        return y.reshape(*x.shape[: self.channel_axis], *y.shape[1:])


@register("Im2col")
class Im2col(Windowed):
    """The windows that a Convolution would see, laid out as channels."""

    bottoms = 1
    tops = 1
    ignores_propagate_down = True

    @property
    def out_channels(self) -> int:
        return self.channels * math.prod(self.kernel)

    def forward(self, *xs: Tensor) -> Sequence[Tensor]:
        axes = len(self.kernel)
        tops = []
        for x in xs:
            windows = self.windows(self.batched(x))
            order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
            y = windows.permute(order).reshape(len(windows), -1, *windows.shape[2 : 2 + axes])
            tops.append(self.unbatched(y, x))
        return tops


def same_padding(spatial: Shape, extent: Shape, stride: Shape) -> list[int]:
    """Return TensorFlow's SAME padding in the order of F.pad; the odd one goes behind."""
    result: list[int] = []
    for size, e, s in zip(reversed(spatial), reversed(extent), reversed(stride), strict=True):
        total = max((-(-size // s) - 1) * s + e - size, 0)
        result += [total // 2, total - total // 2]
    return result
