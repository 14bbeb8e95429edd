"""Forks' layers that enlarge and shrink pictures."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import CaffeError, NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import (
    AccumParameter,
    InterpParameter,
    ResizeBilinearParameter,
    ResizeNearestNeighborParameter,
    UnpoolingParameter,
    UpsampleDarknetParameter,
    UpsampleParameter,
)
from ..pytorch import F, torch
from .asking import put_off, refuse_any
from .axes import four_axes, picture_size
from .layer import Layer, register
from .reach import Reach

if TYPE_CHECKING:
    from torch import Tensor


@register("Interp")
class Interp(Layer[InterpParameter]):
    """Bilinear interpolation with corner on corner (DeepLab, PSPNet).

    The size is shrink_factor's ((n - 1) / shrink + 1), zoom_factor's ((n - 1) * zoom + 1),
    height and width, or, with both factors, first the one and then the other;
    full_zoom_factor's is n * zoom. n leaves out -pad_beg rows and columns in front and
    -pad_end behind. A second bottom gives its own size instead, and nothing else (detectors
    with feature pyramids).
    """

    message = "interp_param"
    family = "resizing"
    bottoms = (1, 2)
    no_gradient_for = frozenset({1})
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.pad_beg > 0 or self.param.pad_end > 0:
            raise NetError("pad_beg and pad_end cut off: they must be 0 or negative")
        for factor in ("zoom_factor", "shrink_factor", "full_zoom_factor"):
            if self.param.HasField(factor) and getattr(self.param, factor) < 1:
                raise NetError(f"{factor} must be at least 1, not {getattr(self.param, factor)}")

    def _size(self, height: int, width: int, like: Shape | None = None) -> tuple[int, int]:
        param = self.param
        if like is not None:
            return picture_size(like)
        shrinks, zooms = param.HasField("shrink_factor"), param.HasField("zoom_factor")
        sized = param.HasField("height") and param.HasField("width")
        if sized and shrinks == zooms:
            return param.height, param.width
        if not shrinks and not zooms:
            if not param.HasField("full_zoom_factor"):
                raise NetError("give zoom_factor, shrink_factor, or height and width")
            return height * param.full_zoom_factor, width * param.full_zoom_factor
        if shrinks:
            height, width = ((n - 1) // param.shrink_factor + 1 for n in (height, width))
        if zooms:
            height, width = ((n - 1) * param.zoom_factor + 1 for n in (height, width))
        return height, width

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        cut = self.param.pad_beg + self.param.pad_end
        # A blob of fewer axes counts as a picture of 1 x 1, as labels in memory do.
        lead, sizes = four_axes(bottoms[0])[:2], four_axes(bottoms[0])[2:]
        height, width = (n + cut for n in sizes)
        size = self._size(height, width, *bottoms[1:])
        if min(height, width, *size) < 1:
            raise ShapeError(
                f"from a bottom of shape {bottoms[0]}, {(height, width)} (height, width) would "
                f"be brought to {size}"
            )
        return [(*lead, *size)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        if len(self.layer_param.bottom) > 1:
            return None
        (top,) = self.top_shapes(bottom)
        cut = self.param.pad_beg + self.param.pad_end
        if len(bottom) != 4 or min(top[2:]) < 2:
            return None
        strides = [
            Fraction(n + cut - 1, out - 1) for n, out in zip(bottom[2:], top[2:], strict=True)
        ]
        return [Reach(2, stride, Fraction(-self.param.pad_beg)) for stride in strides]

    def forward(self, x: Tensor, *like: Tensor) -> Tensor:
        x = x.reshape(four_axes(tuple(x.shape)))
        beg, end = self.param.pad_beg, self.param.pad_end
        x = F.pad(x, [beg, end, beg, end]) if beg or end else x
        size = self._size(*x.shape[2:], *(tuple(other.shape) for other in like))
        return F.interpolate(x, size, mode="bilinear", align_corners=True)


@register("Accum")
class Accum(Layer[AccumParameter]):
    """All bottoms' channels, one behind the other, each map brought to one size (FlowNet 2).

    Bilinear, corner on corner. The size is the largest bottom's; or top_height and top_width,
    or the next multiples of size_divisible_by, where both are larger; with have_reference the
    last bottom's, which gives nothing else.
    """

    message = "accum_param"
    family = "resizing"
    bottoms = (1, None)
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        self._count = len(bottoms) - self.param.have_reference
        if self._count < 1:
            raise NetError("have_reference needs a bottom beside the reference")
        if self.param.have_reference:
            self.no_gradient_for = frozenset({self._count})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        sizes = [picture_size(shape) for shape in bottoms]
        maps = bottoms[: self._count]
        if any(shape[0] != bottoms[0][0] for shape in maps):
            raise ShapeError(f"the bottoms must hold as many pictures, but are of shapes {maps}")
        size = sizes[-1] if self.param.have_reference else self._common(sizes)
        return [(bottoms[0][0], sum(shape[1] for shape in maps), *size)]

    def _common(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        height, width = (max(lengths) for lengths in zip(*sizes, strict=True))
        divisor = self.param.size_divisible_by
        asked = (self.param.top_height, self.param.top_width)
        if divisor:
            asked = (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
        return asked if asked[0] > height and asked[1] > width else (height, width)

    def forward(self, *bottoms: Tensor) -> Tensor:
        size = self.top_shapes(*(tuple(x.shape) for x in bottoms))[0][2:]
        maps = bottoms[: self._count]
        resized = [F.interpolate(x, size, mode="bilinear", align_corners=True) for x in maps]
        return torch.cat(resized, 1)


@register("Upsample")
class Upsample(Layer[UpsampleParameter]):
    """Each value at the place that the mask, the second bottom, names (SegNet); else repeated.

    The mask holds h * width + w, as MAX pooling's second top does; all other places are 0.
    The top's size is upsample_h and upsample_w, or the bottom's by scale (or scale_h and
    scale_w), less 1 with pad_out_h and pad_out_w. Without a mask each place is repeated `scale`
    times (YOLO).
    """

    message = "upsample_param"
    family = "resizing"
    bottoms = (1, 2)
    no_gradient_for = frozenset({1})
    differences = "of the forks"
    forbids_in_place = True
    trains_unseen = True

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        sized, scaled = self._both("upsample"), self._both("scale")
        if scaled and param.HasField("scale"):
            raise NetError("give scale, or scale_h and scale_w, not both")
        self._scale = (param.scale_h, param.scale_w) if scaled else (param.scale,) * 2
        self._fixed = (param.upsample_h, param.upsample_w) if sized else None
        if min(self._fixed or self._scale) < 1:
            raise NetError("the scale, and the size, must be at least 1")
        if self._fixed and len(bottoms) == 1:
            raise NetError("upsample_h and upsample_w need a mask as the second bottom")
        self._less = (0, 0) if self._fixed else (param.pad_out_h, param.pad_out_w)
        if any(less and scale != 2 for less, scale in zip(self._less, self._scale, strict=True)):
            raise NetError("pad_out_h and pad_out_w go with a scale of 2 only")

    def _both(self, name: str) -> bool:
        given = [self.param.HasField(f"{name}_{axis}") for axis in "hw"]
        if any(given) and not all(given):
            raise NetError(f"give {name}_h and {name}_w both")
        return all(given)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self._fixed:
            return self._fixed
        return height * self._scale[0] - self._less[0], width * self._scale[1] - self._less[1]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        size = self._size(*picture_size(bottoms[0]))
        if len(bottoms) == 2 and bottoms[1] != bottoms[0]:
            raise ShapeError(
                f"a bottom of shape {bottoms[0]} needs a mask of the same shape, not {bottoms[1]}"
            )
        return [(*bottoms[0][:2], *size)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        if self._fixed:
            return None
        return [Reach(stride=Fraction(1, scale)) for scale in self._scale]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        height, width = self._size(*x.shape[2:])
        if mask is None:
            return repeat(x, *self._scale)[..., :height, :width]
        return unpooled(x, mask, (height, width))


@register("Unpooling")
class Unpooling(Layer[UnpoolingParameter]):
    """Each value at the place that the mask, the second bottom, names; all others are 0.

    The mask holds h * width + w, as MAX pooling's second top does. The top's height and width are
    unpool_size (or unpool_h and unpool_w), else those of the windows that were pooled (DeconvNet,
    Noh et al., 2015).
    """

    message = "unpooling_param"
    family = "resizing"
    bottoms = 2
    no_gradient_for = frozenset({1})
    differences = "of the forks; MAX only"
    forbids_in_place = True
    trains_unseen = True

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if param.unpool != UnpoolingParameter.MAX:
            raise NetError("unpool must be MAX")
        if param.HasField("unpool_h") != param.HasField("unpool_w") or (
            param.HasField("unpool_h") and param.HasField("unpool_size")
        ):
            raise NetError("give unpool_size, or unpool_h and unpool_w both")
        self._fixed = None
        if param.HasField("unpool_size") or param.HasField("unpool_h"):
            self._fixed = (param.unpool_h or param.unpool_size, param.unpool_w or param.unpool_size)
        elif param.kernel_size < 1 or param.stride < 1:
            raise NetError("give unpool_size, or kernel_size and stride")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if bottoms[0] != bottoms[1]:
            raise ShapeError(
                f"a bottom of shape {bottoms[0]} needs a mask of the same shape, not {bottoms[1]}"
            )
        kernel, stride, pad = self.param.kernel_size, self.param.stride, self.param.pad
        windows = [(n - 1) * stride + kernel - 2 * pad for n in picture_size(bottoms[0])]
        size = self._fixed or (windows[0], windows[1])
        if min(size) < 1:
            raise ShapeError(f"a bottom of shape {bottoms[0]} would be brought to {size}")
        return [(*bottoms[0][:2], *size)]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return unpooled(x, mask, self.top_shapes(tuple(x.shape), tuple(mask.shape))[0][2:])


def unpooled(x: Tensor, mask: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps of another size, with each value of `x` where the mask says, and zeros.

    Raises
    ------
    CaffeError
        The mask names a place that they have not.
    """
    height, width = size
    found = mask.flatten(2).long()
    wrong = (found < 0) | (found >= height * width)

    def refusal() -> CaffeError:
        return CaffeError(
            f"the mask names the place {int(found[wrong][0])}, but a top of {height} x {width} "
            f"has {height * width}; is it as large as what was pooled?"
        )

    refuse_any(wrong, refusal)
    # What is refused only later must not be written elsewhere meanwhile.
    places = found if put_off() is None else found.clamp(0, height * width - 1)
    empty = x.new_zeros(*x.shape[:2], height * width)
    return empty.scatter(2, places, x.flatten(2)).view(*x.shape[:2], height, width)


def repeat(x: Tensor, rows: int, columns: int) -> Tensor:
    """Repeat each place of the last two axes so many times downwards and to the right."""
    return x.repeat_interleave(rows, -2).repeat_interleave(columns, -1)


@register("UpsampleDarknet")
class UpsampleDarknet(Layer[UpsampleDarknetParameter]):
    """Each place repeated `stride` times in both directions (YOLO v3)."""

    message = "upsample_darknet_param"
    family = "resizing"
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.stride < 1:
            raise NetError(f"stride must be at least 1, not {self.param.stride}")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        return [(*bottoms[0][:2], height * self.param.stride, width * self.param.stride)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return [Reach(stride=Fraction(1, self.param.stride))] * 2

    def forward(self, x: Tensor) -> Tensor:
        return repeat(x, self.param.stride, self.param.stride)


R = TypeVar("R", bound=ResizeBilinearParameter | ResizeNearestNeighborParameter)
"""The messages of TensorFlow's two rules."""


class Resize(Layer[R]):
    """A layer that brings some axes to a size of their own, or a factor's (TensorFlow's rules)."""

    family = "resizing"
    differences = "of the forks"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        formats = self.axes_of()
        if self.param.data_format not in formats:
            raise NetError(
                f"data_format must be {' or '.join(formats)}, not {self.param.data_format!r}"
            )
        if sum(map(bool, self.rules())) > 1:
            raise NetError("align_corners and the half-pixel rules exclude one another")

    def axes_of(self) -> dict[str, dict[int, str]]:
        """Return, for each data_format, the axes that are resized and their names."""
        return {"NHWC": {1: "height", 2: "width"}, "NCHW": {2: "height", 3: "width"}}

    def rules(self) -> list[bool]:
        """Return the fields that say where places lie."""
        return [self.param.align_corners, self.param.half_pixel_centers]

    def sizes(self, shape: Shape) -> dict[int, int]:
        """Return the new length of each axis that is resized."""
        sizes = {}
        for axis, name in self.axes_of()[self.param.data_format].items():
            size = getattr(self.param, f"output_{name}")
            if not self.param.HasField(f"output_{name}"):
                size = int(shape[axis] * getattr(self.param, f"scale_{name}"))
            sizes[axis] = size
        return sizes

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        axes = len(self.param.data_format)
        if len(bottoms[0]) != axes:
            raise ShapeError(
                f"data_format {self.param.data_format} needs {axes} axes, but the bottom's shape "
                f"is {bottoms[0]}"
            )
        shape = list(bottoms[0])
        for axis, size in self.sizes(bottoms[0]).items():
            if size < 1:
                raise ShapeError(f"axis {axis} of the shape {bottoms[0]} would get length {size}")
            shape[axis] = size
        return [tuple(shape)]

    def step(self, old: int, new: int) -> np.float32:
        """Return how far apart in the bottom the top's places lie."""
        if self.param.align_corners and new > 1:
            old, new = old - 1, new - 1
        step: np.float32 = np.float32(old) / np.float32(new)
        return step


@register("ResizeBilinear")
class ResizeBilinear(Resize[ResizeBilinearParameter]):
    """Between neighbours linearly, along two axes (three with NCHWD)."""

    message = "resize_bilinear_param"

    def axes_of(self) -> dict[str, dict[int, str]]:
        return {**super().axes_of(), "NCHWD": {2: "height", 3: "width", 4: "depth"}}

    def rules(self) -> list[bool]:
        return [*super().rules(), self.param.pytorch_half_pixel]

    def _points(self, old: int, new: int) -> np.ndarray:
        points: np.ndarray = np.arange(new, dtype=np.float32)
        if self.param.half_pixel_centers or self.param.pytorch_half_pixel:
            if self.param.pytorch_half_pixel and new == 1:
                return np.array([-0.5], np.float32)
            points = (points + np.float32(0.5)) * self.step(old, new) - np.float32(0.5)
        else:
            points = points * self.step(old, new)
        return points

    def between(self, old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return between which two places the top's lie, and the second one's share."""
        points = self._points(old, new)
        below = np.floor(points)
        lower = np.clip(below, 0, None).astype(np.int64)
        upper = np.minimum(np.ceil(points).astype(np.int64), old - 1)
        return lower, upper, points - below

    def forward(self, x: Tensor) -> Tensor:
        for axis, new in self.sizes(tuple(x.shape)).items():
            lower, upper, shares = self.between(x.shape[axis], new)
            share = torch.from_numpy(shares).to(x).view(-1, *[1] * (x.dim() - axis - 1))
            first, second = (
                x.index_select(axis, torch.from_numpy(places).to(x.device))
                for places in (lower, upper)
            )
            x = first + (second - first) * share
        return x


@register("ResizeNearestNeighbor")
class ResizeNearestNeighbor(Resize[ResizeNearestNeighborParameter]):
    """The nearest value, or the one before, along two axes."""

    message = "resize_nearest_neighbor_param"

    def between(self, old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which places the top has, twice, and none for the second one's share."""
        half = np.float32(0.5)
        index = np.arange(new, dtype=np.float32)
        points = (index + half * self.param.half_pixel_centers) * self.step(old, new)
        if self.param.align_corners:
            points = points + half
        places = np.clip(np.floor(points).astype(np.int64), 0, old - 1)
        return places, places, np.zeros(new, np.float32)

    def forward(self, x: Tensor) -> Tensor:
        for axis, new in self.sizes(tuple(x.shape)).items():
            places, *_ = self.between(x.shape[axis], new)
            x = x.index_select(axis, torch.from_numpy(places).to(x.device))
        return x
