"""What layers that put numbers elsewhere are in kernels that LLVM compiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ...compiled.interleaving import MOST_GROUPS
from ...layers.detection.prior_box import PriorBox
from ...layers.permute import Permute, Reorg
from ...layers.rearranging import (
    DepthToSpace,
    Pad,
    Padding,
    PassThrough,
    PixelShuffle,
    ShuffleChannel,
    Transpose,
)
from ...layers.resizing import Upsample, UpsampleDarknet
from ...layers.shape import Concat, Crop, Slice, Tile
from ...layers.softmax import Softmax
from ...memory.blob import Shape
from ...pytorch import torch
from .llvm_nodes import SoftmaxNode
from .llvm_places import ConcatNode, CopyNode, InterleavingNode, Views
from .llvm_rules import Graph, in_any_order, llvm
from .llvm_values import Value

if TYPE_CHECKING:
    from torch import Tensor

Both = tuple["Tensor", "Tensor"]


def _row_axis(x: Value) -> int:
    """The axis whose numbers lie side by side."""
    return 1 if x.is_of_pictures else len(x.shape) - 1


@llvm.rule(Concat)
def _concat(layer: Concat, graph: Graph, top: Value, *xs: Value) -> None:
    axis = layer.along(top.shape)
    if axis == _row_axis(top):
        graph.add(ConcatNode(xs, top))
        return
    views, first = [], 0
    for x in xs:
        views.append(partial(_in_part, axis=axis, first=first))
        first += x.shape[axis]
    graph.add(CopyNode(xs, top, views))


def _in_part(x: Tensor, y: Tensor, axis: int, first: int) -> Both:
    return x, y.narrow(axis, first, x.shape[axis])


@llvm.rule(Slice)
@in_any_order
def _slice(layer: Slice, graph: Graph, tops: Value | Sequence[Value], x: Value) -> None:
    x, first = graph.rows(x), 0
    axis = layer.along(x.shape)
    for top in [tops] if isinstance(tops, Value) else tops:
        top.is_plain = x.is_plain
        if axis == _row_axis(x):
            top.lie_in(x, first)
        else:
            graph.add(CopyNode([x], top, [partial(_of_part, offsets={axis: first})]))
        first += top.shape[axis]


def _of_part(x: Tensor, y: Tensor, offsets: Mapping[int, int]) -> Both:
    for axis, first in offsets.items():
        x = x.narrow(axis, first, y.shape[axis])
    return x, y


@llvm.rule(Crop)
@in_any_order
def _crop(layer: Crop, graph: Graph, top: Value, x: Value, size: Value) -> None:
    top.is_plain = x.is_plain
    graph.add(CopyNode([x], top, [partial(_of_part, offsets=layer.offsets(x.shape))]))


@llvm.rule(Softmax)
@in_any_order
def _softmax(layer: Softmax, graph: Graph, top: Value, x: Value) -> None:
    axis = layer.axis(layer.param.axis, x.shape)
    # Probabilities that a person is given have all digits.
    top.short = x.short and top.readers > 0
    if axis == 1:
        x = graph.pictures(x)
    if axis == _row_axis(x):
        top.is_plain = x.is_plain
        graph.add(SoftmaxNode([x], top))
        return
    order = [*(i for i in range(len(x.shape)) if i != axis), axis]
    last, made = (one.alike(tuple(x.shape[i] for i in order), is_plain=True) for one in (x, top))
    graph.add(CopyNode([x], last, [lambda x, y: (x.permute(order), y)]))
    graph.add(SoftmaxNode([last], made))
    graph.add(CopyNode([made], top, [lambda x, y: (x, y.permute(order))]))


@llvm.rule(Permute, Transpose)
@in_any_order
def _turn(layer: Permute | Transpose, graph: Graph, top: Value, x: Value) -> None:
    """Axes in another order, which in memory may be no work."""
    order = layer.order if isinstance(layer, Permute) else list(layer.param.dim)
    x = graph.rows(x)
    steps = x.strides(x.channels)
    turned = _axes(top.shape, [steps[axis] for axis in order])
    for is_plain in (True, False):
        top.is_plain = is_plain
        if x.is_dense and turned == _axes(top.shape, top.strides(top.channels)):
            top.see(x)
            return
    graph.add(CopyNode([x], top, [lambda x, y: (x.permute(order), y)]))


def _axes(shape: Shape, steps: Sequence[int]) -> list[tuple[int, int]]:
    """Lengths and steps of the axes that have several numbers."""
    return [(n, step) for n, step in zip(shape, steps, strict=True) if n > 1]


@llvm.rule(PriorBox)
@in_any_order
def _prior_box(layer: PriorBox, graph: Graph, top: Value, *xs: Value) -> None:
    """The boxes depend on the bottoms' shapes alone."""
    top.be(layer.forward(*(torch.zeros(x.shape, dtype=torch.float32) for x in xs)))


@llvm.rule(ShuffleChannel)
def _shuffled(layer: ShuffleChannel, graph: Graph, top: Value, x: Value) -> None:
    group = layer.param.group
    if group <= MOST_GROUPS and _row_axis(x) == 1:
        graph.add(InterleavingNode(x, top, group))
    else:
        graph.add(CopyNode([x], top, [partial(_in_turns, group=group)]))


def _in_turns(x: Tensor, y: Tensor, group: int) -> Both:
    return x.unflatten(1, (group, -1)).transpose(1, 2), y.unflatten(1, (-1, group))


def _in_blocks(x: Tensor, down: int, across: int) -> Tensor:
    """Pictures as (number, channel, block's row, row in it, block's column, column in it)."""
    number, channels, height, width = x.shape
    return x.view(number, channels, height // down, down, width // across, across)


def _upsampled(layer: Any, x: Tensor, y: Tensor) -> Both:
    places = _in_blocks(y, y.shape[2] // x.shape[2], y.shape[3] // x.shape[3])
    return x[:, :, :, None, :, None].expand(places.shape), places


def _of_neighbours(layer: Any, x: Tensor, y: Tensor) -> Both:
    """Each channel made of r * r neighbours."""
    r = y.shape[2] // x.shape[2]
    return x.unflatten(1, (-1, r, r)).permute(0, 1, 4, 2, 5, 3), _in_blocks(y, r, r)


def _to_space(layer: DepthToSpace, x: Tensor, y: Tensor) -> Both:
    r = layer.param.block_size
    if layer.param.data_format == "CRD":
        return _of_neighbours(layer, x, y)
    if layer.param.data_format == "NHWC":
        x, y = (one.permute(0, 3, 1, 2) for one in (x, y))
    return x.unflatten(1, (r, r, -1)).permute(0, 3, 4, 1, 5, 2), _in_blocks(y, r, r)


def _to_depth(layer: PassThrough, x: Tensor, y: Tensor) -> Both:
    block = x.shape[2] // y.shape[2], x.shape[3] // y.shape[3]
    places = y.unflatten(1, (*block, -1)).permute(0, 3, 4, 1, 5, 2)
    return _in_blocks(x, *block), places


def _tiled(layer: Tile, x: Tensor, y: Tensor) -> Both:
    axis = layer.param.axis % x.dim()
    places = y.unflatten(axis, (-1, x.shape[axis]))
    return x.unsqueeze(axis).expand(places.shape), places


@llvm.rule(
    Padding,
    Pad,
    unless=lambda layer, shape: (
        "something cut off, or no four axes" if min(layer.sides) < 0 or len(shape) != 4 else None
    ),
)
def _padded(layer: Padding | Pad, graph: Graph, top: Value, x: Value) -> None:
    """The padding everywhere, and what is padded in its midst."""
    number = layer.param.pad_value if isinstance(layer, Padding) else layer.param.constant_values
    padding = top.alike((1, 1, 1, 1))
    padding.be(torch.full(padding.shape, float(number), dtype=torch.float32))
    padding = padding.rounded() if top.short else padding
    # From the last axis on.
    before = [*layer.sides[::2], *[0] * 4][3::-1]
    views: list[Views] = [lambda x, y: (x.expand(y.shape), y), partial(_amid, before=before)]
    graph.add(CopyNode([padding, x], top, views))


def _amid(x: Tensor, y: Tensor, before: Sequence[int]) -> Both:
    for axis, first in enumerate(before):
        y = y.narrow(axis, first, x.shape[axis])
    return x, y


def _not_repeated(layer: Upsample, *shapes: Shape) -> str | None:
    if len(shapes) != 1:
        return "a mask"
    (top,) = layer.top_shapes(*shapes)
    is_whole = all(n % size == 0 for n, size in zip(top[2:], shapes[0][2:], strict=True))
    return None if is_whole else "a last row or column left out"


def _rearranging(
    views: Callable[[Any, Tensor, Tensor], Both],
    *kinds: type[Any],
    unless: Callable[..., str | None] | None = None,
) -> None:
    """Enter a rule for layers whose bottom and top, so viewed, are the same numbers."""

    @llvm.rule(*kinds, unless=unless)
    def rule(layer: Any, graph: Graph, top: Value, x: Value) -> None:
        graph.add(CopyNode([x], top, [partial(views, layer)]))


_rearranging(_upsampled, UpsampleDarknet)
_rearranging(_upsampled, Upsample, unless=_not_repeated)
_rearranging(_of_neighbours, PixelShuffle)
_rearranging(_to_space, DepthToSpace)
_rearranging(_to_depth, PassThrough)
_rearranging(_tiled, Tile)


@llvm.rule(Reorg)
def _reorg(layer: Reorg, graph: Graph, top: Value, x: Value) -> None:
    """Numbers taken in Caffe's order in another shape, as darknet does."""
    s = layer.param.stride
    number, channels, height, width = x.shape
    small = channels // s**2
    if layer.param.reverse:
        shape, order = (number, s, s, small, height, width), (0, 3, 4, 1, 5, 2)
    else:
        shape, order = (number, small, height, s, width, s), (0, 3, 5, 1, 2, 4)
    parts = graph.plain(x).seen_as(shape)
    made = x.alike(tuple(shape[i] for i in order))
    graph.add(CopyNode([parts], made, [lambda x, y: (x.permute(order), y)]))
    top.is_plain = True
    top.see(made)
