"""Shapes and order: joining, cutting, repeating and reinterpreting blobs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import (
    ConcatParameter,
    CropParameter,
    FlattenParameter,
    ReshapeParameter,
    SliceParameter,
    TileParameter,
)
from ..pytorch import torch
from .layer import Layer, Tensors, register
from .reach import Alignment, Reach, all_places, same_place
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor

A = TypeVar("A", bound=ConcatParameter | SliceParameter)
"""Concat's message, and Slice's."""


class LegacyAxis(Layer[A]):
    """A layer along `axis`, which old texts name otherwise."""

    legacy_axis: str

    def along(self, shape: Shape) -> int:
        """Return the axis, counted from the front."""
        if not self.param.HasField(self.legacy_axis):
            return self.axis(self.param.axis, shape)
        if self.param.HasField("axis"):
            raise NetError(f"give axis or {self.legacy_axis}, not both")
        return self.axis(getattr(self.param, self.legacy_axis), shape, self.legacy_axis)


@register("Concat")
class Concat(LegacyAxis[ConcatParameter]):
    """The bottoms one behind the other along `axis`."""

    message = "concat_param"
    rearranges = True
    bottoms = (1, None)
    legacy_axis = "concat_dim"
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        axis = self.along(bottoms[0])
        first = bottoms[0]
        for shape in bottoms:
            if len(shape) != len(first) or any(
                a != b for i, (a, b) in enumerate(zip(shape, first, strict=True)) if i != axis
            ):
                raise ShapeError(
                    f"the bottoms' shapes must agree but for axis {axis}; they are {bottoms}"
                )
        return [(*first[:axis], sum(shape[axis] for shape in bottoms), *first[axis + 1 :])]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return same_place(bottom) if self.along(bottom) < 2 else None

    def forward(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, self.along(xs[0].shape))


@openvino.rule(Concat)
def _concat(layer: Concat, graph: Graph, *xs: Value) -> Value:
    return graph.ops.concat(list(xs), layer.along(graph.shape(xs[0])))


@register("Slice")
class Slice(LegacyAxis[SliceParameter]):
    """The bottom cut along `axis`, at slice_point or into equal parts."""

    message = "slice_param"
    rearranges = True
    tops = (1, None)
    legacy_axis = "slice_dim"
    takes_short_numbers = True
    asks_no_values = True

    def _sizes(self, shape: Shape) -> list[int]:
        length, count = shape[self.along(shape)], len(self.layer_param.top)
        points = list(self.param.slice_point)
        if points:
            if len(points) != count - 1:
                raise NetError(f"{count} tops need {count - 1} slice_points, not {len(points)}")
            ends = [0, *points, length]
            sizes = [end - start for start, end in pairwise(ends)]
            if min(sizes) < 1:
                raise ShapeError(f"slice_points {points} must rise, and stay below {length}")
            return sizes
        if length % count:
            raise ShapeError(f"{length} along the axis cannot be cut into {count} equal parts")
        return [length // count] * count

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        axis = self.along(bottoms[0])
        before, after = bottoms[0][:axis], bottoms[0][axis + 1 :]
        return [(*before, size, *after) for size in self._sizes(bottoms[0])]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return same_place(bottom) if self.along(bottom) < 2 else None

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        return torch.split(x, self._sizes(x.shape), self.along(x.shape))


@openvino.rule(Slice)
def _slice(layer: Slice, graph: Graph, x: Value) -> Value:
    axis = layer.along(graph.shape(x))
    sizes = [top[axis] for top in layer.top_shapes(graph.shape(x))]
    return graph.ops.variadic_split(x, graph.ops.constant(axis), graph.integers(sizes))


@register("Split")
class Split(Layer):
    """The bottom, once for each reader; the gradients of all of them add up."""

    rearranges = True
    tops = (1, None)
    shares = frozenset({"data"})
    forbids_in_place = True
    pointwise = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return [bottoms[0]] * len(self.layer_param.top)

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        return [x.view_as(x) for _ in self.layer_param.top]

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        return [sum(diffs[1:], start=diffs[0])]


@register("Flatten")
class Flatten(Layer[FlattenParameter]):
    """The axes from `axis` to `end_axis` (both included) as one; a new one if there are none."""

    message = "flatten_param"
    rearranges = True
    shares = frozenset({"data", "diff"})
    forbids_in_place = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shape = bottoms[0]
        first = self.axis(self.param.axis, shape)
        last = self.axis(self.param.end_axis, shape, "end_axis")
        if last < first - 1:
            raise ShapeError(f"end_axis {last} comes before axis {first}")
        return [(*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return all_places(bottom) if len(self.top_shapes(bottom)[0]) <= 2 else None

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.top_shapes(tuple(x.shape))[0])


@register("Reshape")
class Reshape(Layer[ReshapeParameter]):
    """The same numbers in another shape: 0 keeps an axis, one -1 takes what is left.

    Only the `num_axes` axes from `axis` on are replaced (-1: all of them).
    """

    message = "reshape_param"
    rearranges = True
    shares = frozenset({"data", "diff"})
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        dims = list(self.param.shape.dim)
        if dims.count(-1) > 1 or min(dims, default=0) < -1:
            raise NetError(f"shape {dims} may hold -1 once, and nothing below it")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shape, param = bottoms[0], self.param
        start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
        if not 0 <= start <= len(shape):
            raise ShapeError(f"axis {param.axis} does not exist in a bottom of shape {shape}")
        if param.num_axes < -1:
            raise NetError(f"num_axes must be -1 (all from axis on) or more, not {param.num_axes}")
        end = len(shape) if param.num_axes == -1 else start + param.num_axes
        if end > len(shape):
            raise ShapeError(f"axis {start} and num_axes {param.num_axes} reach past {shape}")
        dims = list(param.shape.dim)
        for i, dim in enumerate(dims):
            if dim == 0:
                if start + i >= len(shape):
                    raise ShapeError(
                        f"shape {dims} keeps axis {start + i}, which a bottom of shape {shape} "
                        "has not"
                    )
                dims[i] = shape[start + i]
        top = [*shape[:start], *dims, *shape[end:]]
        count = math.prod(shape)
        if -1 in top and count == 0 and top.count(0) == shape.count(0):
            # Of an empty batch, what there would be of one that is not.
            whole = math.prod(dim or 1 for dim in shape)
            given = -math.prod(dim or 1 for dim in top)
            if whole % given:
                raise ShapeError(f"the bottom's {shape} does not divide into {tuple(top)}")
            top[top.index(-1)] = whole // given
        elif -1 in top:
            given = -math.prod(top)
            if given == 0 or count % given:
                raise ShapeError(f"the bottom's {count} numbers do not divide into {tuple(top)}")
            top[top.index(-1)] = count // given
        if math.prod(top) != count:
            raise ShapeError(f"the shape {tuple(top)} does not hold the {count} numbers of {shape}")
        return [tuple(top)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        (top,) = self.top_shapes(bottom)
        if len(top) == len(bottom) and top[2:] == bottom[2:]:
            return same_place(bottom)
        return all_places(bottom) if len(top) <= 2 else None

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.top_shapes(tuple(x.shape))[0])


@register("Crop")
class Crop(Layer[CropParameter]):
    """The first bottom cut to the second one's size from `axis` on, beginning at offset."""

    message = "crop_param"
    alignment = Alignment.CUT
    bottoms = 2
    no_gradient_for = frozenset({1})
    takes_short_numbers = True
    asks_no_values = True

    def offsets(self, shape: Shape) -> dict[int, int]:
        """Return where along each axis that is cut the top begins."""
        first = self.axis(self.param.axis, shape)
        offsets = list(self.param.offset) or [0]
        axes = range(first, len(shape))
        if len(offsets) == 1:
            offsets *= len(axes)
        if len(offsets) != len(axes):
            raise NetError(f"give offset once or once for each of the {len(axes)} axes cropped")
        return dict(zip(axes, offsets, strict=True))

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        whole, size = bottoms
        offsets = self.offsets(whole)
        if len(size) < len(whole):
            raise ShapeError(f"the second bottom has too few axes; the bottoms are {bottoms}")
        for axis, offset in offsets.items():
            if offset + size[axis] > whole[axis]:
                raise ShapeError(
                    f"axis {axis}: {size[axis]} from offset {offset} on do not fit into "
                    f"{whole[axis]} (the bottoms are {bottoms})"
                )
        return [tuple(size[i] if i in offsets else n for i, n in enumerate(whole))]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        offsets = self.offsets(bottom)
        starts = [Fraction(offsets.get(axis, 0)) for axis in range(2, len(bottom))]
        return [Reach(start=start) for start in starts]

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        for axis, offset in self.offsets(tuple(x.shape)).items():
            x = x.narrow(axis, offset, size.shape[axis])
        return x


@register("Tile")
class Tile(Layer[TileParameter]):
    """The bottom repeated `tiles` times along `axis`."""

    message = "tile_param"
    takes_short_numbers = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.tiles < 1:
            raise NetError("tiles must be given, and at least 1")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        axis = self.axis(self.param.axis, bottoms[0])
        shape = list(bottoms[0])
        shape[axis] *= self.param.tiles
        return [tuple(shape)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return same_place(bottom) if self.axis(self.param.axis, bottom) < 2 else None

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x] * self.param.tiles, self.param.axis)
