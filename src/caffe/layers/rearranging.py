"""Forks' layers that put the same numbers elsewhere: shuffled, turned round, padded."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import (
    DepthToSpaceParameter,
    PaddingParameter,
    PadParameter,
    PassThroughParameter,
    PixelShuffleParameter,
    ReverseParameter,
    ShuffleChannelParameter,
    TransposeParameter,
)
from ..pytorch import F
from .axes import four_axes, picture_size
from .layer import Layer, register
from .reach import Reach
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("ShuffleChannel")
class ShuffleChannel(Layer[ShuffleChannelParameter]):
    """The first channel of each group, then the second of each, ... (Zhang et al., 2017)."""

    message = "shuffle_channel_param"
    rearranges = True
    differences = "of the forks"
    forbids_in_place = True
    pointwise = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        (shape,) = bottoms
        if len(shape) < 2 or self.param.group < 1 or shape[1] % self.param.group:
            raise ShapeError(
                f"the channels of a bottom of shape {shape} do not divide into "
                f"{self.param.group} groups"
            )
        return [shape]

    def forward(self, x: Tensor) -> Tensor:
        groups = x.reshape(len(x), self.param.group, -1, *x.shape[2:])
        return groups.transpose(1, 2).reshape(x.shape)


@openvino.rule(ShuffleChannel)
def _shuffle_channel(layer: ShuffleChannel, graph: Graph, x: Value) -> Value:
    return graph.ops.shuffle_channels(x, 1, layer.param.group)


@register("Reverse")
class Reverse(Layer[ReverseParameter]):
    """The order along `axis` (or several, or the first) turned round."""

    message = "reverse_param"
    rearranges = True
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def _axes(self, shape: Shape) -> list[int]:
        return [self.axis(axis, shape) for axis in self.param.axis or [0]]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(set(self._axes(bottoms[0]))) < len(self.param.axis):
            raise NetError(f"the axes {list(self.param.axis)} must differ")
        return [bottoms[0]]

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(self._axes(tuple(x.shape)))


@register("Transpose")
class Transpose(Layer[TransposeParameter]):
    """Axis i of the top is axis dim[i] of the bottom."""

    message = "transpose_param"
    rearranges = True
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        dims = list(self.param.dim)
        if not dims or sorted(dims) != list(range(len(bottoms[0]))):
            raise ShapeError(
                f"dim {dims} must name each axis of a bottom of shape {bottoms[0]} once"
            )
        return [tuple(bottoms[0][d] for d in dims)]

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.param.dim)


@register("DepthToSpace")
class DepthToSpace(Layer[DepthToSpaceParameter]):
    """Each block_size ** 2 channels become a block of places.

    data_format NHWC (the default) has the channels last. NCHW, also called DCR, has them
    second; there and in NHWC a channel of the top is made of channels that lie far apart, in
    CRD of neighbours.
    """

    message = "depth_to_space_param"
    rearranges = True
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.data_format not in ("NHWC", "NCHW", "DCR", "CRD"):
            raise NetError(
                f"data_format must be NHWC, NCHW, DCR or CRD, not {self.param.data_format!r}"
            )
        if self.param.block_size < 1:
            raise NetError(f"block_size must be at least 1, not {self.param.block_size}")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        picture_size(bottoms[0])
        n, *rest = bottoms[0]
        last = self.param.data_format == "NHWC"
        height, width, channels = rest if last else (*rest[1:], rest[0])
        size = self.param.block_size
        if channels % size**2:
            raise ShapeError(
                f"the {channels} channels of a bottom of shape {bottoms[0]} (data_format "
                f"{self.param.data_format}) do not make blocks of {size} x {size}"
            )
        spatial = (height * size, width * size)
        depth = channels // size**2
        return [(n, *spatial, depth) if last else (n, depth, *spatial)]

    def forward(self, x: Tensor) -> Tensor:
        size, last = self.param.block_size, self.param.data_format == "NHWC"
        if self.param.data_format == "CRD":
            return F.pixel_shuffle(x, size)
        x = x if last else x.permute(0, 2, 3, 1)
        n, height, width, channels = x.shape
        blocks = x.reshape(n, height, width, size, size, channels // size**2)
        y = blocks.permute(0, 1, 3, 2, 4, 5).reshape(n, height * size, width * size, -1)
        return y if last else y.permute(0, 3, 1, 2)


@register("PixelShuffle")
class PixelShuffle(Layer[PixelShuffleParameter]):
    """Each r^2 neighbouring channels become a block of r x r places (Shi et al., ESPCN, 2016)."""

    message = "pixel_shuffle_param"
    further_messages = ("pixelshuffle_param",)
    rearranges = True
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if self.layer_param.HasField("pixelshuffle_param"):
            self.param = self.layer_param.pixelshuffle_param
        if self.param.upscale_factor < 1:
            raise NetError(f"upscale_factor must be at least 1, not {self.param.upscale_factor}")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        num, channels, *_ = bottoms[0]
        factor = self.param.upscale_factor
        if channels % factor**2:
            raise ShapeError(
                f"the {channels} channels of a bottom of shape {bottoms[0]} do not make blocks of "
                f"{factor} x {factor}"
            )
        return [(num, channels // factor**2, height * factor, width * factor)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return [Reach(stride=Fraction(1, self.param.upscale_factor))] * 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.param.upscale_factor)


@register("PassThrough")
class PassThrough(Layer[PassThroughParameter]):
    """Each block of block_height x block_width places becomes channels, all of a place together.

    Channel (y * block_width + x) * C + c of the top is channel c at row y and column x of the
    blocks (YOLO v2; darknet's own order is Reorg's).
    """

    message = "pass_through_param"
    rearranges = True
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        self._block = (self.param.block_height, self.param.block_width)
        if min(self._block) < 1:
            raise NetError(f"block_height and block_width must be positive, not {self._block}")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        rows, columns = self._block
        if height % rows or width % columns:
            raise ShapeError(
                f"a bottom of shape {bottoms[0]} does not divide into blocks of {rows} x {columns}"
            )
        num, channels, *_ = bottoms[0]
        return [(num, channels * rows * columns, height // rows, width // columns)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return [Reach(n, Fraction(n)) for n in self._block]

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self._block
        shape = self.top_shapes(tuple(x.shape))[0]
        num, channels, _, _ = x.shape
        blocks = x.reshape(num, channels, shape[2], rows, shape[3], columns)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(shape)


@register("Padding")
class Padding(Layer[PaddingParameter]):
    """Rows and columns of `pad_value` added (or, where negative, cut off) at the sides.

    DeepLab's fork gives pad_beg and pad_end for both axes, Sophgo's a number for each side.
    """

    message = "padding_param"
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        ends = (self.param.pad_beg, self.param.pad_end)
        sides = [getattr(self.param, f"pad_{side}") for side in "lrtb"]
        if any(ends) and any(sides):
            raise NetError("give pad_beg and pad_end, or pad_l, pad_r, pad_t and pad_b, not both")
        self.sides = list(ends) * 2 if any(ends) else sides
        if min(self.sides) < 0 < max(self.sides):
            raise NetError(f"the padding must be positive or negative, not both: {self.sides}")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        *lead, height, width = four_axes(bottoms[0])
        left, right, top, bottom = self.sides
        size = (height + top + bottom, width + left + right)
        if min(size) < 1:
            raise ShapeError(f"nothing is left of a bottom of shape {bottoms[0]}")
        return [(*lead, *size)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        left, _, top, _ = self.sides
        return [Reach(start=Fraction(-top)), Reach(start=Fraction(-left))]

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(four_axes(tuple(x.shape)))
        return F.pad(x, self.sides, value=self.param.pad_value)


@register("Pad")
class Pad(Layer[PadParameter]):
    """`constant_values` added before and behind each axis; paddings names two numbers for each."""

    message = "pad_param"
    differences = "of the forks"
    forbids_in_place = True
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        pads, shape = self.param.paddings, bottoms[0]
        if len(pads) != 2 * len(shape):
            raise ShapeError(
                f"a bottom of shape {shape} needs {2 * len(shape)} paddings, not {len(pads)}"
            )
        return [tuple(n + pads[2 * i] + pads[2 * i + 1] for i, n in enumerate(shape))]

    @property
    def sides(self) -> list[int]:
        """The paddings in the order of F.pad: of the last axis first."""
        pads = list(self.param.paddings)
        return [n for i in reversed(range(0, len(pads), 2)) for n in pads[i : i + 2]]

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sides, value=self.param.constant_values)
