"""YOLO's layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...layers.detection.boxes import LARGEST_EXPONENT
from ...layers.detection.yolo import (
    YOLO_V3_PRIORS,
    YOLO_V3_THRESHOLD,
    Region,
    RegionYolo,
    Yolo,
    YoloDetectionOutput,
    Yolov3DetectionOutput,
)
from ..onnx_graph import OnnxGraph, Value, onnx
from .detection import rows_or_nothing


@onnx.rule(RegionYolo)
def _region_yolo(layer: RegionYolo, graph: OnnxGraph, x: Value) -> Value:
    param, shape = layer.param, graph.shape(x)
    each = param.coords + 1 + param.classes
    parts = graph.reshaped(x, (shape[0], param.num, each, *shape[2:]))
    sizes = [n for n in (2, param.coords - 2, 1, param.classes) if n]
    place, *rest, thing, classes = graph.cut_into(parts, 2, sizes)
    joined = [
        graph.op("Sigmoid", place),
        *rest,
        graph.op("Sigmoid", thing),
        graph.op("Softmax", classes, axis=2),
    ]
    y = graph.op("Concat", *joined, axis=2)
    return graph.reshaped(y, layer.top_shapes(shape)[0])


def _read_places(
    graph: OnnxGraph, x: Value, boxes: int, priors: np.ndarray
) -> tuple[Value, Value, Value]:
    """A map's boxes: middles (N, B, 2) in parts of the picture, sides (N, B, 2), and the rest."""
    num, channels, height, width = graph.shape(x)
    each = channels // boxes
    values = graph.reshaped(x, (num, boxes, each, height, width))
    values = graph.op("Transpose", values, perm=[0, 3, 4, 1, 2])
    place, grown, rest = graph.cut_into(values, 4, [2, 2, each - 4])
    row, column = np.mgrid[:height, :width].astype(np.float32)
    corner = np.stack([column, row], -1)[:, :, None]
    middles = graph.op("Add", graph.op("Sigmoid", place), graph.constant(corner))
    size = np.array([width, height], np.float32)
    middles = graph.op("Div", middles, graph.constant(size))
    growth = graph.op("Exp", graph.clipped(grown, None, LARGEST_EXPONENT))
    sides = graph.op("Mul", growth, graph.constant(priors.astype(np.float32)))
    middles, sides, rest = (
        graph.reshaped(part, (num, height * width * boxes, length))
        for part, length in ((middles, 2), (sides, 2), (rest, each - 4))
    )
    return middles, sides, rest


def _joined(graph: OnnxGraph, parts: Sequence[Value]) -> Value:
    return parts[0] if len(parts) == 1 else graph.op("Concat", *parts, axis=1)


def _read_all(
    graph: OnnxGraph, maps: Sequence[Value], boxes: int, priors: Sequence[np.ndarray]
) -> tuple[Value, Value]:
    """All maps' boxes (N, B, 4) as corners in parts of the picture, and the rest (N, B, ...)."""
    read = [_read_places(graph, x, boxes, own) for x, own in zip(maps, priors, strict=True)]
    middles, sides, rest = (_joined(graph, parts) for parts in zip(*read, strict=True))
    half = graph.times(sides, 0.5)
    low, high = graph.op("Sub", middles, half), graph.op("Add", middles, half)
    return graph.op("Concat", low, high, axis=2), rest


def _thinned(
    graph: OnnxGraph, boxes: Value, scores: Value, overlap: float, threshold: float, count: int
) -> Value:
    """What stays of scores (N, classes, B): rows (picture, class, box)."""
    # A box goes from this overlap on, not above it.
    limit = np.nextafter(np.float32(overlap), np.float32(-1))
    return graph.op(
        "NonMaxSuppression",
        boxes,
        scores,
        graph.constant([count]),
        graph.constant(np.array([limit], np.float32)),
        graph.constant(np.array([threshold], np.float32)),
    )


def _rows(
    graph: OnnxGraph, kept: Value, labels: Value, scores: Value, boxes: Value, images: int
) -> Value:
    """The top: labels (R), scores (R) and boxes (R, 4) of what was kept."""
    picture = graph.floating(graph.cut(kept, 1, 0, 1))
    columns = [
        graph.op("Unsqueeze", graph.floating(labels), graph.constant([1])),
        graph.op("Unsqueeze", scores, graph.constant([1])),
    ]
    found = graph.op("Concat", picture, graph.plus(columns[0], 1), columns[1], boxes, axis=1)
    return rows_or_nothing(graph, found, images)


def _pairs(graph: OnnxGraph, kept: Value) -> Value:
    """(picture, box) of what was kept."""
    return graph.op("Gather", kept, graph.constant([0, 2]), axis=1)


@onnx.rule(YoloDetectionOutput)
def _yolo_v2(layer: YoloDetectionOutput, graph: OnnxGraph, *maps: Value) -> Value:
    param = layer.param
    biases = np.array(param.biases, np.float32).reshape(-1, 2)[: layer.boxes_of_place]
    sizes = [graph.shape(x) for x in maps]
    priors = [biases / np.array([shape[3], shape[2]], np.float32) for shape in sizes]
    boxes, raw = _read_all(graph, maps, layer.boxes_of_place, priors)
    thing, classes = graph.cut_into(raw, 2, [1, layer.classes])
    chances = graph.op("Softmax", classes, axis=2)
    best = graph.reduced("ReduceMax", chances, [2])
    labels = graph.op("ArgMax", chances, axis=2, keepdims=0)
    scores = graph.op("Mul", graph.op("Sigmoid", thing), best)
    images, count = sizes[0][0], sum(s[2] * s[3] for s in sizes) * layer.boxes_of_place
    by_picture = graph.reshaped(scores, (images, 1, count))
    least = float(np.nextafter(np.float32(param.confidence_threshold), np.float32(-1)))
    kept = _thinned(graph, boxes, by_picture, layer.overlap, least, count)
    pairs = _pairs(graph, kept)
    flat = graph.reshaped(scores, (images, count))
    return _rows(
        graph,
        kept,
        graph.op("GatherND", labels, pairs),
        graph.op("GatherND", flat, pairs),
        graph.op("GatherND", boxes, pairs),
        images,
    )


@onnx.rule(Yolov3DetectionOutput)
def _yolo_v3(layer: Yolov3DetectionOutput, graph: OnnxGraph, *maps: Value) -> Value:
    param = layer.param
    biases = np.array(param.biases, np.float32).reshape(-1, 2)
    sizes, priors = [graph.shape(x) for x in maps], []
    for i, shape in enumerate(sizes):
        own = list(param.mask)[i * layer._group :][: param.num_box]
        picture = np.array([shape[3], shape[2]], np.float32) * param.anchors_scale[i]
        priors.append(biases[own] / picture)
    boxes, raw = _read_all(graph, maps, layer.boxes_of_place, priors)
    thing, classes = graph.cut_into(graph.op("Sigmoid", raw), 2, [1, layer.classes])
    scores = graph.op("Mul", thing, classes)
    images, count = sizes[0][0], sum(s[2] * s[3] for s in sizes) * layer.boxes_of_place
    every = count * layer.classes
    # Each class of a box is a box of its own, and all are thinned out together.
    spread = graph.op(
        "Expand",
        graph.op("Unsqueeze", boxes, graph.constant([2])),
        graph.constant([1, 1, layer.classes, 1]),
    )
    spread = graph.reshaped(spread, (images, every, 4))
    flat = graph.reshaped(scores, (images, 1, every))
    kept = _thinned(graph, spread, flat, layer.overlap, param.confidence_threshold, every)
    pairs = _pairs(graph, kept)
    place = graph.reshaped(graph.cut(kept, 1, 2, 3), [-1])
    return _rows(
        graph,
        kept,
        graph.op("Mod", place, graph.constant([layer.classes])),
        graph.op("GatherND", graph.reshaped(scores, (images, every)), pairs),
        graph.op("GatherND", spread, pairs),
        images,
    )


@onnx.rule(Region)
def _region(layer: Region, graph: OnnxGraph, x: Value) -> Value:
    num, _, height, width = graph.shape(x)
    anchors = np.array(layer._anchors[: 2 * layer.param.num], np.float32).reshape(-1, 2)
    priors = anchors / np.array([width, height], np.float32)
    boxes, raw = _read_all(graph, [x], layer.param.num, [priors])
    thing, classes = graph.cut_into(raw, 2, [1, layer.classes])
    scores = graph.op("Mul", graph.op("Sigmoid", thing), graph.op("Softmax", classes, axis=2))
    by_class = graph.op("Transpose", scores, perm=[0, 2, 1])
    count = height * width * layer.param.num
    kept = _thinned(graph, boxes, by_class, layer.overlap, layer.param.thresh, count)
    return _rows(
        graph,
        kept,
        graph.reshaped(graph.cut(kept, 1, 1, 2), [-1]),
        graph.op("GatherND", by_class, kept),
        graph.op("GatherND", boxes, _pairs(graph, kept)),
        num,
    )


@onnx.rule(Yolo)
def _yolo(layer: Yolo, graph: OnnxGraph, *maps: Value) -> Value:
    shapes = [graph.shape(x) for x in maps]
    priors = np.array(YOLO_V3_PRIORS, np.float32).reshape(3, 3, 2)
    read = [_read_places(graph, x, 3, own) for x, own in zip(maps, priors, strict=True)]
    middles, sides, raw = (_joined(graph, parts) for parts in zip(*read, strict=True))
    thing, classes = graph.cut_into(graph.op("Sigmoid", raw), 2, [1, shapes[0][1] // 3 - 5])
    chances = graph.op("Mul", thing, classes)
    best = graph.reduced("ReduceMax", chances, [2])
    labels = graph.floating(graph.op("ArgMax", chances, axis=2))
    rows = graph.op("Concat", middles, sides, labels, best, axis=2)
    shown = graph.floating(graph.op("Greater", best, graph.constant(np.float32(YOLO_V3_THRESHOLD))))
    # Those that are shown come first, each kind in the order in which it stands.
    count = sum(shape[2] * shape[3] for shape in shapes) * 3
    order = graph.constant(np.arange(count, 0, -1, dtype=np.float32)[None, :, None])
    rank = graph.op("Add", graph.times(shown, count), order)
    rank, places = graph.many("TopK", 2, rank, graph.constant([count]), axis=1)
    spread = graph.op("Expand", places, graph.constant([1, 1, 6]))
    rows = graph.op("GatherElements", rows, spread, axis=1)
    is_shown = graph.op("Greater", rank, graph.constant(np.float32(count)))
    rows = graph.op("Where", is_shown, rows, graph.constant(np.float32(0)))
    number = graph.reduced("ReduceSum", shown, [1])
    flat = graph.reshaped(rows, (shapes[0][0], count * 6, 1, 1))
    number = graph.op("Unsqueeze", number, graph.constant([3]))
    return graph.op("Concat", number, flat, axis=1)
