"""Features of regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...layers.detection.regions import (
    DeformablePSROIPooling,
    PSROIPooling,
    ROIAlign,
    ROIPooling,
)
from ..onnx_graph import Array, OnnxGraph, Value, onnx


def rounded(graph: OnnxGraph, x: Value) -> Value:
    """Round halves away from zero, as C does; ONNX's Round goes to the even neighbour."""
    whole = graph.op("Floor", graph.plus(graph.op("Abs", x), 0.5))
    return graph.op("Mul", graph.op("Sign", x), whole)


def _rows(graph: OnnxGraph, regions: Value) -> Value:
    """Regions as (R, 5)."""
    shape = graph.shape(regions)
    return regions if len(shape) == 2 else graph.reshaped(regions, (-1, 5))


def _parts(graph: OnnxGraph, regions: Value) -> tuple[Value, Value, Value]:
    """Which picture (R, 1), the first corner (R, 2) and the last (R, 2)."""
    picture, start, end = graph.cut_into(_rows(graph, regions), 1, [1, 2, 2])
    return picture, start, end


@onnx.rule(ROIPooling)
def _roi_pooling(layer: ROIPooling, graph: OnnxGraph, features: Value, regions: Value) -> Value:
    param = layer.param
    rows, scale = _rows(graph, regions), param.spatial_scale
    if param.HasField("pad_ratio"):
        rows, scale = _grown(layer, graph, features, regions), 1.0
    size = [param.pooled_h, param.pooled_w]
    return graph.op("MaxRoiPool", features, rows, pooled_shape=size, spatial_scale=scale)


def _grown(layer: ROIPooling, graph: OnnxGraph, features: Value, regions: Value) -> Value:
    """Regions that grow by pad_ratio, in places of the map."""
    scale = layer.param.spatial_scale
    picture, start, end = _parts(graph, regions)
    pad = graph.times(graph.plus(graph.op("Sub", end, start), 1), layer.param.pad_ratio)
    low = rounded(graph, graph.times(graph.op("Sub", start, pad), scale))
    high = rounded(graph, graph.times(graph.op("Add", end, pad), scale))
    height, width = graph.shape(features)[2:]
    last = np.floor(np.array([width, height], np.float32) / np.float32(scale) + 0.5) - 1
    high = graph.op("Min", high, graph.constant(last.astype(np.float32)))
    return graph.op("Concat", picture, graph.clipped(low, 0), high, axis=1)


@onnx.rule(PSROIPooling)
def _psroi_pooling(layer: PSROIPooling, graph: OnnxGraph, features: Value, regions: Value) -> Value:
    num, channels, height, width = graph.shape(features)
    group, scale = layer.param.group_size, layer.param.spatial_scale
    picture, start, end = _parts(graph, regions)
    first = graph.times(rounded(graph, start), scale)
    last = graph.times(graph.plus(rounded(graph, end), 1), scale)
    length = graph.clipped(graph.op("Sub", last, first), 0.1)
    edges = []
    for axis, size in ((1, height), (0, width)):
        low, step = (graph.cut(v, 1, axis, axis + 1) for v in (first, length))
        step = graph.times(step, 1 / group)
        edges.append(_bins(graph, low, step, group, size))
    (upper, lower), (left, right) = edges
    # Sums over rectangles are differences of sums from the corner on, exact enough in double.
    sums = graph.op("Cast", features, to=11)
    for axis in (2, 3):
        sums = graph.op("CumSum", sums, graph.constant(np.int64(axis)))
    pads = graph.constant([0, 0, 1, 1, 0, 0, 0, 0])
    sums = graph.op("Pad", sums, pads, graph.op("Cast", graph.constant(np.float32(0)), to=11))
    shape = (num, channels // group**2, group, group, height + 1, width + 1)
    sums = graph.op("Transpose", graph.reshaped(sums, shape), perm=[0, 2, 3, 4, 5, 1])
    bins = np.arange(group**2).reshape(group, group)
    look = _Lookup(graph, sums, shape[-2:], picture, bins)
    upper, lower = (graph.op("Unsqueeze", edge, graph.constant([2])) for edge in (upper, lower))
    left, right = (graph.op("Unsqueeze", edge, graph.constant([1])) for edge in (left, right))
    total = graph.op(
        "Sub",
        graph.op("Add", look.at(lower, right), look.at(upper, left)),
        graph.op("Add", look.at(upper, right), look.at(lower, left)),
    )
    area = graph.op("Mul", graph.op("Sub", lower, upper), graph.op("Sub", right, left))
    area = graph.op("Unsqueeze", graph.clipped(graph.floating(area), 1), graph.constant([3]))
    means = graph.op("Div", graph.floating(total), area)
    return graph.op("Transpose", means, perm=[0, 3, 1, 2])


def _bins(graph: OnnxGraph, start: Value, step: Value, bins: int, size: int) -> tuple[Value, Value]:
    """Where bins begin and end, int64 (R, bins)."""

    def edge(first: int, kind: str) -> Value:
        number = np.arange(first, first + bins, dtype=np.float32)[None]
        place = graph.op("Add", graph.op("Mul", step, graph.constant(number)), start)
        return graph.clipped(graph.op(kind, place), 0, size)

    low = edge(0, "Floor")
    high = graph.op("Max", low, edge(1, "Ceil"))
    return graph.whole(low), graph.whole(high)


class _Lookup:
    """Maps looked up at places: of each region's picture, and of each bin's own channels.

    Parameters
    ----------
    graph : OnnxGraph
        What is written into.
    maps : Value
        (N, ..., H, W, channels)
    size : sequence of int
        H and W.
    picture : Value
        Which picture each region is of, (R, 1).
    bins : ndarray
        Which of a picture's maps is whose.
    """

    def __init__(
        self,
        graph: OnnxGraph,
        maps: Value,
        size: Sequence[int],
        picture: Value,
        bins: Array,
    ) -> None:
        self.graph, (self.height, self.width) = graph, size
        channels = graph.op("Shape", maps, start=-1)
        shape = graph.op("Concat", graph.constant([-1]), channels, axis=0)
        self.table = graph.op("Reshape", maps, shape)
        behind = graph.constant(list(range(2, bins.ndim + 1)))
        start = graph.op("Unsqueeze", graph.whole(picture), behind)
        start = graph.op("Mul", start, graph.constant([bins.size * self.height * self.width]))
        own = graph.constant(bins[None] * (self.height * self.width))
        self.start = graph.op("Add", start, own)

    def at(self, row: Value, column: Value) -> Value:
        """Return the numbers at whole rows and columns, (R, ..., channels)."""
        graph = self.graph
        place = graph.op("Mul", row, graph.constant([self.width]))
        place = graph.op("Add", graph.op("Add", self.start, place), column)
        return graph.op("Gather", self.table, place, axis=0)

    def between(self, row: Value, column: Value) -> tuple[Value, Value]:
        """Return what is interpolated at points, and 1 for those within half a place of the map.

        Those farther out have 0. The shapes are (R, ..., channels) and (R, ..., 1).
        """
        graph = self.graph
        inside, corners, shares = None, [], []
        for place, length in ((row, self.height), (column, self.width)):
            for kind, bound in (("GreaterOrEqual", -0.5), ("LessOrEqual", length - 0.5)):
                test = graph.op(kind, place, graph.constant(np.float32(bound)))
                inside = test if inside is None else graph.op("And", inside, test)
            held = graph.clipped(place, 0, length - 1)
            low = graph.op("Floor", held)
            share = graph.op("Sub", held, low)
            corners.append((graph.whole(low), graph.whole(graph.op("Ceil", held))))
            shares.append((graph.op("Sub", graph.constant(np.float32(1)), share), share))
        assert inside is not None
        last = graph.constant([-1])
        counted = graph.op("Unsqueeze", graph.floating(inside), last)
        parts = [
            graph.op(
                "Mul",
                self.at(corners[0][i], corners[1][j]),
                graph.op("Unsqueeze", graph.op("Mul", shares[0][i], shares[1][j]), last),
            )
            for i in (0, 1)
            for j in (0, 1)
        ]
        return graph.op("Mul", graph.op("Sum", *parts), counted), counted


@onnx.rule(DeformablePSROIPooling)
def _deformable_psroi_pooling(
    layer: DeformablePSROIPooling, graph: OnnxGraph, features: Value, regions: Value, *more: Value
) -> Value:
    param, (num, channels, *size) = layer.param, graph.shape(features)
    group, samples, scale = param.group_size, param.sample_per_part, param.spatial_scale
    picture, start, end = _parts(graph, regions)
    first = graph.plus(graph.times(rounded(graph, start), scale), -0.5)
    last = graph.plus(graph.times(graph.plus(rounded(graph, end), 1), scale), -0.5)
    sides = graph.clipped(graph.op("Sub", last, first), 0.1)
    classes, moves = 1, None
    if layer._moves:
        classes = graph.shape(more[0])[1] // 2
        moves = _moves(layer, graph, more[0], classes)
    # Axes are regions, classes, bins' rows and columns, a bin's points downwards and across.
    parts = np.arange(group)[:, None] + np.arange(samples) / samples
    places = []
    for axis, own in ((1, parts[:, None, :, None]), (0, parts[None, :, None, :])):
        low, side = (
            graph.op("Unsqueeze", graph.cut(v, 1, axis, axis + 1), graph.constant([2, 3, 4, 5]))
            for v in (first, sides)
        )
        step = graph.times(graph.op("Mul", graph.constant(own), side), 1 / group)
        if moves is not None:
            step = graph.op("Add", step, graph.op("Mul", moves[axis], side))
        places.append(graph.op("Add", low, step))
    maps = graph.reshaped(features, (num, classes, -1, group, group, *size))
    maps = graph.op("Transpose", maps, perm=[0, 1, 3, 4, 5, 6, 2])
    bins = np.arange(classes * group**2).reshape(classes, group, group, 1, 1)
    values, counted = _Lookup(graph, maps, size, picture, bins).between(*places)
    total, count = (graph.reduced("ReduceSum", v, [4, 5], False) for v in (values, counted))
    means = graph.op("Div", total, graph.clipped(count, 1))
    means = graph.op("Transpose", means, perm=[0, 1, 4, 2, 3])
    return graph.reshaped(means, (-1, channels // group**2, group, group))


def _moves(
    layer: DeformablePSROIPooling, graph: OnnxGraph, offsets: Value, classes: int
) -> list[Value]:
    """How far bins move to the right and downwards, in sides, (R, classes, bins, bins, 1, 1)."""
    group = layer.param.group_size
    which = graph.constant(np.arange(group) * layer.param.part_size // group)
    for axis in (2, 3):
        offsets = graph.op("Gather", offsets, which, axis=axis)
    own = graph.times(offsets, layer.param.trans_std)
    across, down = graph.cut_into(graph.reshaped(own, (-1, classes, 2, group, group, 1)), 2, [1, 1])
    shape = (-1, classes, group, group, 1, 1)
    return [graph.reshaped(across, shape), graph.reshaped(down, shape)]


@onnx.rule(ROIAlign)
def _roi_align(layer: ROIAlign, graph: OnnxGraph, features: Value, regions: Value) -> Value:
    param: Any = layer.param
    if layer.layer_param.HasField("roi_pooling_param"):
        return _corner_values(layer, graph, features, regions)
    picture, start, end = _parts(graph, regions)
    return graph.op(
        "RoiAlign",
        features,
        graph.op("Concat", start, end, axis=1),
        graph.op("Squeeze", graph.whole(picture), graph.constant([1])),
        coordinate_transformation_mode="output_half_pixel",
        output_height=param.pooled_h,
        output_width=param.pooled_w,
        sampling_ratio=max(0, layer.layer_param.roi_align_param.sampling_ratio),
        spatial_scale=param.spatial_scale,
    )


def _corner_values(layer: ROIAlign, graph: OnnxGraph, features: Value, regions: Value) -> Value:
    """Cascade R-CNN's form: what is interpolated at the corners of bins; RoiAlign has means."""
    param: Any = layer.param
    size = graph.shape(features)[2:]
    picture, start, end = _parts(graph, regions)
    pad = graph.times(graph.plus(graph.op("Sub", end, start), 1), param.pad_ratio)
    low = graph.plus(graph.times(graph.op("Sub", start, pad), param.spatial_scale), -0.5)
    high = graph.plus(graph.times(graph.op("Add", end, pad), param.spatial_scale), -0.5)
    sides = graph.op("Sub", high, low)
    places = []
    for axis, count, behind in ((1, param.pooled_h, [2]), (0, param.pooled_w, [1])):
        first, side = (graph.cut(v, 1, axis, axis + 1) for v in (low, sides))
        number = graph.constant(np.arange(count + 1, dtype=np.float32)[None])
        place = graph.op("Add", graph.op("Mul", number, graph.times(side, 1 / count)), first)
        places.append(graph.op("Unsqueeze", place, graph.constant(behind)))
    maps = graph.op("Transpose", features, perm=[0, 2, 3, 1])
    look = _Lookup(graph, maps, size, picture, np.zeros((1, 1), int))
    values, _ = look.between(*places)
    # Regions without extent have none.
    least = graph.reduced("ReduceMin", sides, [1])
    is_real = graph.floating(graph.op("Greater", least, graph.constant(np.float32(0))))
    spread = graph.op("Unsqueeze", is_real, graph.constant([2, 3]))
    return graph.op("Transpose", graph.op("Mul", values, spread), perm=[0, 3, 1, 2])
