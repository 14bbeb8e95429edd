"""FlowNet's layers: what fits where in two pictures, pictures moved along a flow, their mean."""

from __future__ import annotations

import numpy as np

from ...layers.flownet import DataAugmentation
from ...layers.optical_flow import Correlation, Correlation1D, Displaced, FlowWarp
from ...proto.caffe_pb2 import CorrelationParameter, FlowWarpParameter
from ..onnx_graph import OnnxGraph, Value, onnx
from .sampling import inside_of, looked_up


@onnx.rule(Correlation, Correlation1D)
def _correlation(layer: Displaced, graph: OnnxGraph, a: Value, b: Value) -> Value:
    (top,) = layer.top_shapes(graph.shape(a), graph.shape(b))
    kernel, stride = layer.param.kernel_size, layer.param.stride_1
    down, right = layer.pads()
    moves = layer.displacements()
    # Displacements that reach past the padding see zeros.
    beyond = max(0, max(abs(dx) for _, dx in moves) - layer.param.max_displacement)
    first = graph.padded(a, [(0, 0), (0, 0), (down, down), (right, right)])
    wide = (right + beyond, right + beyond)
    second = graph.padded(b, [(0, 0), (0, 0), (down, down), wide])
    upper, left = (margin - kernel // 2 for margin in layer.margins())
    rows, columns = ((n - 1) * stride + kernel for n in top[2:])

    def window(x: Value, row: int, column: int) -> Value:
        return graph.cut(graph.cut(x, 2, row, row + rows), 3, column, column + columns)

    seen, maps = window(first, upper, left), []
    for dy, dx in moves:
        other = window(second, upper + dy, left + beyond + dx)
        if layer.param.correlation_type == CorrelationParameter.SUBTRACT:
            products = graph.op("Abs", graph.op("Sub", seen, other))
        else:
            products = graph.op("Mul", seen, other)
        maps.append(graph.reduced("ReduceMean", products, [1]))
    joined = graph.op("Concat", *maps, axis=1)
    return graph.op("AveragePool", joined, kernel_shape=[kernel] * 2, strides=[stride] * 2)


@onnx.rule(FlowWarp)
def _flow_warp(layer: FlowWarp, graph: OnnxGraph, x: Value, flow: Value) -> Value:
    n, channels, height, width = graph.shape(x)
    right, down = graph.cut_into(flow, 1, [1, 1])
    u = graph.op("Add", right, graph.constant(np.arange(width, dtype=np.float32)))
    v = graph.op("Add", down, graph.constant(np.arange(height, dtype=np.float32)[:, None]))
    columns, rows = (graph.reshaped(place, (n, height * width)) for place in (u, v))
    values = looked_up(graph, x, rows, columns, keeps_last=True)
    if layer.param.fill_value == FlowWarpParameter.NOT_A_NUMBER:
        inside = graph.op("Cast", inside_of(graph, rows, columns, height, width), to=9)
        inside = graph.op("Unsqueeze", inside, graph.constant([1]))
        values = graph.op("Where", inside, values, graph.constant(np.float32(np.nan)))
    return graph.reshaped(values, (n, channels, height, width))


@onnx.rule(DataAugmentation)
def _data_augmentation(
    layer: DataAugmentation, graph: OnnxGraph, x: Value, *others: Value
) -> Value:
    shape, param = graph.shape(x), layer.param
    (top,) = layer.top_shapes(shape)
    for axis in (2, 3):
        before = (shape[axis] - top[axis]) // 2
        if top[axis] != shape[axis]:
            x = graph.cut(x, axis, before, before + top[axis])
    if param.recompute_mean:
        return graph.op("Sub", x, graph.parameter(1 if param.mean_per_pixel else 2))
    if param.mean and not param.mean_per_pixel:
        mean = np.array(param.mean, np.float32).reshape(-1, 1, 1)
        return graph.op("Sub", x, graph.constant(mean))
    return x
