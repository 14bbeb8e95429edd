"""Sums, products and the like of whole blobs."""

from __future__ import annotations

from functools import reduce

import numpy as np

from ...layers.arithmetic import Add, Axpy, Mul
from ...layers.eltwise import Eltwise
from ...layers.flownet import ChannelNorm, Mean
from ...layers.input import ParameterLayer, Silence
from ...layers.selection import ArgMax, BatchReindex, Filter, Reduction
from ...proto.caffe_pb2 import EltwiseParameter, MeanParameter, ReductionParameter
from ..onnx_graph import LAST, OnnxGraph, Value, onnx


@onnx.rule(Eltwise)
def _eltwise(layer: Eltwise, graph: OnnxGraph, *xs: Value) -> Value:
    kind = {
        EltwiseParameter.PROD: "Mul",
        EltwiseParameter.SUM: "Add",
        EltwiseParameter.MAX: "Max",
    }[layer.param.operation]
    if kind == "Add" and layer.param.coeff:
        xs = tuple(graph.times(x, c) for x, c in zip(xs, layer.param.coeff, strict=True))
    return reduce(lambda one, other: graph.op(kind, one, other), xs)


@onnx.rule(Axpy)
def _axpy(layer: Axpy, graph: OnnxGraph, a: Value, x: Value, y: Value) -> Value:
    shape = graph.shape(x)
    wanted = (*shape[:2], *[1] * (len(shape) - 2))
    factor = a if graph.shape(a) == wanted else graph.reshaped(a, wanted)
    return graph.op("Add", graph.op("Mul", factor, x), y)


@onnx.rule(Add)
def _add(layer: Add, graph: OnnxGraph, a: Value, b: Value) -> Value:
    return graph.op("Add", a, b)


@onnx.rule(Mul)
def _mul(layer: Mul, graph: OnnxGraph, a: Value, *others: Value) -> Value:
    return graph.op("Mul", a, *(others or [graph.parameter(0)]))


@onnx.rule(Mean)
def _mean(layer: Mean, graph: OnnxGraph, x: Value) -> Value:
    param = layer.param
    sign = 1 if param.operation == MeanParameter.ADD else -1
    across = [1] * (len(graph.shape(x)) - 2)
    values = sign * param.mean_scale * np.array(param.value, np.float32)
    y = graph.op(
        "Add", graph.times(x, param.input_scale), graph.constant(values.reshape(-1, *across))
    )
    return graph.times(y, param.output_scale)


@onnx.rule(ChannelNorm)
def _channel_norm(layer: ChannelNorm, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Sqrt", graph.reduced("ReduceSum", graph.op("Mul", x, x), [1]))


@onnx.rule(Reduction)
def _reduction(layer: Reduction, graph: OnnxGraph, x: Value) -> Value:
    kind = {
        ReductionParameter.SUM: "ReduceSum",
        ReductionParameter.ASUM: "ReduceL1",
        ReductionParameter.SUMSQ: "ReduceSumSquare",
        ReductionParameter.MEAN: "ReduceMean",
    }[layer.param.operation]
    shape = graph.shape(x)
    axes = range(layer.axis(layer.param.axis, shape), len(shape))
    return graph.times(graph.reduced(kind, x, axes, keepdims=False), layer.param.coeff)


@onnx.rule(ArgMax)
def _arg_max(layer: ArgMax, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    by_axis = layer.param.HasField("axis")
    axis = layer.axis(layer.param.axis, shape) if by_axis else 1
    rows = x if by_axis else graph.op("Flatten", x, axis=1)
    length = shape[axis] if by_axis else int(np.prod(shape[1:]))
    # Of equal values the later one comes first in Caffe, and the earlier one in TopK.
    backwards = graph.cut(rows, axis, -1, -LAST, -1)
    count = graph.constant([layer.param.top_k])
    values, found = graph.many("TopK", 2, backwards, count, axis=axis)
    places = graph.floating(graph.op("Sub", graph.constant([length - 1]), found))
    if by_axis:
        return values if layer.param.out_max_val else places
    chosen = [places, values] if layer.param.out_max_val else [places]
    y = graph.op("Concat", *(graph.op("Unsqueeze", v, graph.constant([1])) for v in chosen), axis=1)
    more = list(range(3, len(shape)))
    return graph.op("Unsqueeze", y, graph.constant(more)) if more else y


@onnx.rule(BatchReindex)
def _batch_reindex(layer: BatchReindex, graph: OnnxGraph, x: Value, order: Value) -> Value:
    return graph.op("Gather", x, graph.whole(order), axis=0)


@onnx.rule(Filter)
def _filter(layer: Filter, graph: OnnxGraph, *bottoms: Value) -> list[Value]:
    *filtered, selector = bottoms
    flat = graph.reshaped(selector, [-1])
    index = graph.reshaped(graph.op("NonZero", flat), [-1])
    return [graph.op("Gather", x, index, axis=0) for x in filtered]


@onnx.rule(Silence)
def _silence(layer: Silence, graph: OnnxGraph, *bottoms: Value) -> list[Value]:
    return []


@onnx.rule(ParameterLayer)
def _parameter(layer: ParameterLayer, graph: OnnxGraph) -> Value:
    return graph.parameter(0)
