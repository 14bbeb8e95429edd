"""Shapes and order: joining, cutting, repeating, and the same numbers elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from ...layers.permute import Permute, Reorg
from ...layers.rearranging import (
    DepthToSpace,
    Pad,
    Padding,
    PassThrough,
    PixelShuffle,
    Reverse,
    ShuffleChannel,
    Transpose,
)
from ...layers.shape import Concat, Crop, Flatten, Reshape, Slice, Split, Tile
from ...memory.blob import Shape
from ..onnx_graph import LAST, OnnxGraph, Value, onnx


@onnx.rule(Concat)
def _concat(layer: Concat, graph: OnnxGraph, *xs: Value) -> Value:
    return graph.op("Concat", *xs, axis=layer.along(graph.shape(xs[0])))


@onnx.rule(Slice)
def _slice(layer: Slice, graph: OnnxGraph, x: Value) -> list[Value]:
    shape = graph.shape(x)
    axis = layer.along(shape)
    return graph.cut_into(x, axis, [top[axis] for top in layer.top_shapes(shape)])


@onnx.rule(Split)
def _split(layer: Split, graph: OnnxGraph, x: Value) -> list[Value]:
    return [x for _ in layer.layer_param.top]


@onnx.rule(Flatten)
def _flatten(layer: Flatten, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    (top,) = layer.top_shapes(shape)
    if len(top) == 2 and len(shape) > 1 and top[0] == shape[0]:
        return graph.op("Flatten", x, axis=1)
    return graph.reshaped(x, top)


@onnx.rule(Reshape)
def _reshape(layer: Reshape, graph: OnnxGraph, x: Value) -> Value:
    return graph.reshaped(x, layer.top_shapes(graph.shape(x))[0])


@onnx.rule(Crop)
def _crop(layer: Crop, graph: OnnxGraph, x: Value, like: Value) -> Value:
    whole = graph.shape(x)
    (top,) = layer.top_shapes(whole, graph.shape(like))
    for axis, offset in layer.offsets(whole).items():
        if top[axis] != whole[axis]:
            x = graph.cut(x, axis, offset, offset + top[axis])
    return x


@onnx.rule(Tile)
def _tile(layer: Tile, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    repeats = [1] * len(shape)
    repeats[layer.axis(layer.param.axis, shape)] = layer.param.tiles
    return graph.op("Tile", x, graph.constant(repeats))


@onnx.rule(Permute)
def _permute(layer: Permute, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Transpose", x, perm=list(layer.order))


@onnx.rule(Transpose)
def _transpose(layer: Transpose, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Transpose", x, perm=list(layer.param.dim))


def _rearranged(
    graph: OnnxGraph, x: Value, parts: Sequence[int], order: Sequence[int], top: Shape
) -> Value:
    """The axes taken apart, put into another order, and joined again."""
    taken = graph.reshaped(x, parts)
    return graph.reshaped(graph.op("Transpose", taken, perm=list(order)), top)


@onnx.rule(Reorg)
def _reorg(layer: Reorg, graph: OnnxGraph, x: Value) -> Value:
    s, shape = layer.param.stride, graph.shape(x)
    num, channels, height, width = shape
    small = channels // (s * s)
    (top,) = layer.top_shapes(shape)
    if layer.param.reverse:
        return _rearranged(graph, x, (num, s, s, small, height, width), (0, 3, 4, 1, 5, 2), top)
    return _rearranged(graph, x, (num, small, height, s, width, s), (0, 3, 5, 1, 2, 4), top)


@onnx.rule(ShuffleChannel)
def _shuffle_channel(layer: ShuffleChannel, graph: OnnxGraph, x: Value) -> Value:
    shape, group = graph.shape(x), layer.param.group
    parts = (shape[0], group, shape[1] // group, *shape[2:])
    return _rearranged(graph, x, parts, (0, 2, 1, *range(3, len(parts))), shape)


@onnx.rule(Reverse)
def _reverse(layer: Reverse, graph: OnnxGraph, x: Value) -> Value:
    for axis in layer._axes(graph.shape(x)):
        x = graph.cut(x, axis, -1, -LAST, -1)
    return x


@onnx.rule(DepthToSpace)
def _depth_to_space(layer: DepthToSpace, graph: OnnxGraph, x: Value) -> Value:
    size, form = layer.param.block_size, layer.param.data_format
    if form != "NHWC":
        return graph.op("DepthToSpace", x, blocksize=size, mode="CRD" if form == "CRD" else "DCR")
    num, height, width, channels = graph.shape(x)
    parts = (num, height, width, size, size, channels // size**2)
    return _rearranged(graph, x, parts, (0, 1, 3, 2, 4, 5), layer.top_shapes(graph.shape(x))[0])


@onnx.rule(PixelShuffle)
def _pixel_shuffle(layer: PixelShuffle, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("DepthToSpace", x, blocksize=layer.param.upscale_factor, mode="CRD")


@onnx.rule(PassThrough)
def _pass_through(layer: PassThrough, graph: OnnxGraph, x: Value) -> Value:
    rows, columns = layer.param.block_height, layer.param.block_width
    shape = graph.shape(x)
    (top,) = layer.top_shapes(shape)
    parts = (shape[0], shape[1], top[2], rows, top[3], columns)
    return _rearranged(graph, x, parts, (0, 3, 5, 1, 2, 4), top)


@onnx.rule(Padding)
def _padding(layer: Padding, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    if len(shape) < 4:
        x = graph.reshaped(x, (*shape, *[1] * (4 - len(shape))))
    left, right, top, bottom = layer.sides
    return graph.padded(x, [(0, 0), (0, 0), (top, bottom), (left, right)], layer.param.pad_value)


@onnx.rule(Pad)
def _pad(layer: Pad, graph: OnnxGraph, x: Value) -> Value:
    pads = list(layer.param.paddings)
    return graph.padded(
        x, list(zip(pads[::2], pads[1::2], strict=True)), layer.param.constant_values
    )
