"""Features of regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...layers.detection.regions import PSROIPooling, ROIAlign, ROIPooling
from ...memory.blob import Shape
from ..onnx_graph import OnnxGraph, Value, onnx


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
    out = channels // group**2
    places = (height + 1) * (width + 1)
    sums = graph.reshaped(sums, (num, out, group, group, places))
    # (N, bins, bins, places, channels): what is looked up is channels of a place.
    sums = graph.op("Transpose", sums, perm=[0, 2, 3, 4, 1])
    look = _Lookup(graph, sums, picture, group, width + 1)
    total = graph.op(
        "Sub",
        graph.op("Add", look.at(lower, right), look.at(upper, left)),
        graph.op("Add", look.at(upper, right), look.at(lower, left)),
    )
    high = graph.op("Unsqueeze", graph.op("Sub", lower, upper), graph.constant([2, 3]))
    wide = graph.op("Unsqueeze", graph.op("Sub", right, left), graph.constant([1, 3]))
    area = graph.op("Max", graph.op("Mul", high, wide), graph.constant([1]))
    means = graph.op("Div", graph.floating(total), graph.floating(area))
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
    """Sums at rows and columns of bins, of the region's picture."""

    def __init__(
        self, graph: OnnxGraph, sums: Value, picture: Value, group: int, width: int
    ) -> None:
        self.graph, self.sums, self.width = graph, sums, width
        number = np.arange(group)
        row, column = np.broadcast_arrays(number[:, None], number)
        bins = graph.constant(np.stack([row, column], -1)[None])
        index = graph.op("Unsqueeze", graph.whole(picture), graph.constant([2, 3]))
        one = graph.op("Shape", index, end=1)
        shape = graph.op("Concat", one, graph.constant([group, group]), axis=0)
        self.index = graph.op(
            "Expand", index, graph.op("Concat", shape, graph.constant([1]), axis=0)
        )
        self.bins = graph.op("Expand", bins, graph.op("Concat", shape, graph.constant([2]), axis=0))

    def at(self, row: Value, column: Value) -> Value:
        """(R, bins, bins, channels)."""
        graph = self.graph
        rows = graph.op("Mul", row, graph.constant([self.width]))
        place = graph.op(
            "Add",
            graph.op("Unsqueeze", rows, graph.constant([2])),
            graph.op("Unsqueeze", column, graph.constant([1])),
        )
        place = graph.op("Unsqueeze", place, graph.constant([3]))
        indices = graph.op("Concat", self.index, self.bins, place, axis=3)
        return graph.op("GatherND", self.sums, indices)


def _at_corners(layer: ROIAlign, *shapes: Shape) -> str | None:
    if layer.layer_param.HasField("roi_pooling_param"):
        return "values at the corners of bins (Cascade R-CNN's form); ONNX's RoiAlign has means"
    return None


@onnx.rule(ROIAlign, unless=_at_corners)
def _roi_align(layer: ROIAlign, graph: OnnxGraph, features: Value, regions: Value) -> Value:
    param: Any = layer.param
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
