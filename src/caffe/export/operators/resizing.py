"""Pictures enlarged and shrunk."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...layers.axes import four_axes
from ...layers.flownet import Resample, rounded
from ...layers.resizing import (
    Accum,
    Interp,
    ResizeBilinear,
    ResizeNearestNeighbor,
    Unpooling,
    Upsample,
    UpsampleDarknet,
)
from ...memory.blob import Shape
from ...proto.caffe_pb2 import ResampleParameter
from ..onnx_graph import OnnxGraph, Value, onnx


def bilinear(graph: OnnxGraph, x: Value, size: Sequence[int]) -> Value:
    """Return maps in another size, corner on corner."""
    return graph.resized(x, size, mode="linear", coordinate_transformation_mode="align_corners")


def repeated(graph: OnnxGraph, x: Value, size: Sequence[int]) -> Value:
    """Return maps with each place repeated until they have this size."""
    return graph.resized(
        x,
        size,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@onnx.rule(Interp)
def _interp(layer: Interp, graph: OnnxGraph, x: Value, *like: Value) -> Value:
    shape = graph.shape(x)
    (top,) = layer.top_shapes(shape, *(graph.shape(other) for other in like))
    whole = four_axes(shape)
    if whole != shape:
        x = graph.reshaped(x, whole)
    cut = (layer.param.pad_beg, layer.param.pad_end)
    x = graph.padded(x, [(0, 0), (0, 0), cut, cut])
    return x if top[2:] == tuple(n + sum(cut) for n in whole[2:]) else bilinear(graph, x, top[2:])


@onnx.rule(Accum)
def _accum(layer: Accum, graph: OnnxGraph, *xs: Value) -> Value:
    (top,) = layer.top_shapes(*(graph.shape(x) for x in xs))
    maps = xs[: len(xs) - layer.param.have_reference]
    return graph.op("Concat", *(bilinear(graph, x, top[2:]) for x in maps), axis=1)


@onnx.rule(UpsampleDarknet)
def _upsample_darknet(layer: UpsampleDarknet, graph: OnnxGraph, x: Value) -> Value:
    return repeated(graph, x, layer.top_shapes(graph.shape(x))[0][2:])


@onnx.rule(Upsample)
def _upsample(layer: Upsample, graph: OnnxGraph, x: Value, *mask: Value) -> Value:
    shape = graph.shape(x)
    (top,) = layer.top_shapes(shape, *[shape] * len(mask))
    if mask:
        return _unpooled(graph, x, mask[0], top)
    size = [n * scale for n, scale in zip(shape[2:], layer._scale, strict=True)]
    y = repeated(graph, x, size)
    for axis in (2, 3):
        if top[axis] != size[axis - 2]:
            y = graph.cut(y, axis, 0, top[axis])
    return y


@onnx.rule(Unpooling)
def _unpooling(layer: Unpooling, graph: OnnxGraph, x: Value, mask: Value) -> Value:
    return _unpooled(graph, x, mask, layer.top_shapes(graph.shape(x), graph.shape(mask))[0])


def _unpooled(graph: OnnxGraph, x: Value, mask: Value, top: Shape) -> Value:
    """Each value where the mask says; zeros elsewhere."""
    n, channels, *size = graph.shape(x)
    rows = (n, channels, math.prod(size))
    empty = graph.op(
        "Expand",
        graph.constant(np.zeros((1, 1, 1), np.float32)),
        graph.sized_like(x, 2, [math.prod(top[2:])]),
    )
    places = graph.whole(graph.reshaped(mask, rows))
    filled = graph.op("ScatterElements", empty, places, graph.reshaped(x, rows), axis=2)
    return graph.reshaped(filled, top)


def taken(graph: OnnxGraph, x: Value, axis: int, places: np.ndarray) -> Value:
    """Return some places of a value along an axis, in any order."""
    return graph.op("Gather", x, graph.constant(places.astype(np.int64)), axis=axis)


@onnx.rule(ResizeBilinear)
def _resize_bilinear(layer: ResizeBilinear, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    for axis, new in layer.sizes(shape).items():
        points = layer._points(shape[axis], new)
        below = np.floor(points)
        share = (points - below).reshape(-1, *[1] * (len(shape) - axis - 1))
        first = taken(graph, x, axis, np.clip(below, 0, None))
        second = taken(graph, x, axis, np.minimum(np.ceil(points), shape[axis] - 1))
        more = graph.op("Mul", graph.op("Sub", second, first), graph.constant(share))
        x = graph.op("Add", first, more)
    return x


@onnx.rule(ResizeNearestNeighbor)
def _resize_nearest(layer: ResizeNearestNeighbor, graph: OnnxGraph, x: Value) -> Value:
    shape, half = graph.shape(x), np.float32(0.5)
    for axis, new in layer.sizes(shape).items():
        index = np.arange(new, dtype=np.float32) + half * layer.param.half_pixel_centers
        points = index * layer.step(shape[axis], new)
        if layer.param.align_corners:
            points = points + half
        x = taken(graph, x, axis, np.clip(np.floor(points), 0, shape[axis] - 1))
    return x


@onnx.rule(Resample)
def _resample(layer: Resample, graph: OnnxGraph, x: Value, *like: Value) -> Value:
    shape = graph.shape(x)
    (top,) = layer.top_shapes(shape, *(graph.shape(other) for other in like))
    points, steps = layer.points(shape[2:], top[2:])
    if layer.param.type == ResampleParameter.NEAREST:
        for axis in (2, 3):
            places = np.clip(rounded(points[axis - 2]), 0, shape[axis] - 1)
            x = taken(graph, x, axis, places)
        return x
    smaller = max(steps) > 1 and layer.param.antialias
    high, wide = (
        layer._weights(p, n, step, smaller)
        for p, n, step in zip(points, shape[2:], steps, strict=True)
    )
    total = high.sum(1)[:, None] * wide.sum(1)
    share = np.where(total == 0, 0, 1 / np.where(total == 0, 1, total)).astype(np.float32)
    y = graph.op("MatMul", graph.constant(high), x)
    y = graph.op("MatMul", y, graph.constant(np.ascontiguousarray(wide.T)))
    return graph.op("Mul", y, graph.constant(share))
