"""YOLO's layers."""

from __future__ import annotations

from ...layers.detection.yolo import RegionYolo
from ..onnx_graph import OnnxGraph, Value, onnx


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
