"""Normalisation, and factors and summands along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...layers.bn import BN, DecayingBN, SegNetBN
from ...layers.lrn import LRN
from ...layers.normalization import (
    MVN,
    BatchNorm,
    ForkBatchNorm,
    Normalize,
    ScaledBatchNorm,
)
from ...layers.scale import AlongAxes, Bias, Scale
from ...memory.blob import Shape
from ...phases import TEST
from ...proto.caffe_pb2 import BNParameter
from ...pytorch import torch
from ..onnx_graph import OnnxGraph, Value, onnx


@onnx.rule(LRN)
def _lrn(layer: LRN, graph: OnnxGraph, x: Value) -> Value:
    param = layer.param
    size, alpha, beta = param.local_size, param.alpha, param.beta
    if layer.is_across and alpha > 0 and beta > 0:
        return graph.op("LRN", x, size=size, alpha=alpha, beta=beta, bias=param.k)
    squares, half = graph.op("Mul", x, x), size // 2
    window = {"count_include_pad": 1, "strides": [1, 1]}
    if layer.is_across:
        n, channels, height, width = graph.shape(x)
        rows = graph.reshaped(squares, (n, 1, channels, height * width))
        rows = graph.op(
            "AveragePool", rows, kernel_shape=[size, 1], pads=[half, 0, half, 0], **window
        )
        average = graph.reshaped(rows, (n, channels, height, width))
    else:
        average = graph.op(
            "AveragePool", squares, kernel_shape=[size, size], pads=[half] * 4, **window
        )
    base = graph.plus(graph.times(average, alpha), param.k if layer.is_across else 1)
    return graph.op("Mul", x, graph.op("Pow", base, graph.constant(np.float32(-beta))))


def _by_batch(
    graph: OnnxGraph, x: Value, axes: Sequence[int], eps: float
) -> tuple[Value, Value, Value]:
    """A value less its mean, by its deviation; the mean, and the variance."""
    mean = graph.reduced("ReduceMean", x, axes)
    apart = graph.op("Sub", x, mean)
    variance = graph.reduced("ReduceMean", graph.op("Mul", apart, apart), axes)
    return graph.op("Div", apart, graph.op("Sqrt", graph.plus(variance, eps))), mean, variance


def _learns(layer: BatchNorm, *bottoms: Shape) -> str | None:
    if layer.use_global_stats or layer.phase == TEST:
        return None
    return "at TRAIN it adds to its statistics; make the net for caffe.TEST"


@onnx.rule(BatchNorm, ForkBatchNorm, ScaledBatchNorm, unless=_learns)
def _batch_norm(layer: BatchNorm, graph: OnnxGraph, x: Value) -> Value:
    blobs, axes = graph.arrays(), len(graph.shape(x))
    if not layer.use_global_stats:
        y, _, _ = _by_batch(graph, x, [i for i in range(axes) if i != 1], layer.param.eps)
        return y
    if axes < 2 or not layer.param.add_eps_before_sqrt:
        return _affine(layer, graph, x, 1)
    share = layer.share(blobs[2])
    ones, zeros = torch.ones_like(blobs[0]), torch.zeros_like(blobs[0])
    scale, bias = blobs[3:] if len(blobs) > 3 else (ones, zeros)
    mean, variance = blobs[0] * share, blobs[1] * share
    settings = [
        graph.parameter(3, scale.numpy()) if len(blobs) > 3 else graph.constant(scale.numpy()),
        graph.parameter(4, bias.numpy()) if len(blobs) > 3 else graph.constant(bias.numpy()),
        graph.parameter(0, mean.numpy()),
        graph.parameter(1, variance.numpy()),
    ]
    return graph.op("BatchNormalization", x, *settings, epsilon=layer.param.eps)


def _affine(layer: Any, graph: OnnxGraph, x: Value, axis: int) -> Value:
    """x times a factor, plus a summand, for each channel."""
    factor, summand = layer.affine(*graph.arrays())
    across = [1] * max(0, len(graph.shape(x)) - axis - 1)
    y = graph.op("Mul", x, graph.constant(factor.numpy().reshape(-1, *across)))
    return graph.op("Add", y, graph.constant(summand.numpy().reshape(-1, *across)))


def _bn_learns(layer: BN, *bottoms: Shape) -> str | None:
    if layer.uses_running or layer.phase == TEST or isinstance(layer, SegNetBN):
        return None
    return "at TRAIN it adds to its statistics; make the net for caffe.TEST"


@onnx.rule(BN, DecayingBN, SegNetBN, unless=_bn_learns)
def _bn(layer: BN, graph: OnnxGraph, x: Value) -> Value | list[Value]:
    axis, axes = layer.channel_axis, len(graph.shape(x))
    inference = isinstance(layer, SegNetBN) and layer.param.bn_mode == BNParameter.INFERENCE
    if layer.uses_running or inference:
        y = _affine(layer, graph, x, axis)
        zeros = graph.constant(np.zeros(layer.blob_shape(), np.float32))
        return [y, *[zeros] * (len(layer.layer_param.top) - 1)]
    others = [i for i in range(axes) if i != axis]
    y, mean, variance = _by_batch(graph, x, others, layer.eps)
    across = [1] * (axes - axis - 1)
    scale, shift = (
        graph.parameter(i, graph.arrays()[i].numpy().reshape(-1, *across)) for i in (0, 1)
    )
    y = graph.op("Add", graph.op("Mul", y, scale), shift)
    shown = [graph.reshaped(value, layer.blob_shape()) for value in (mean, variance)]
    return [y, *shown[: len(layer.layer_param.top) - 1]]


@onnx.rule(MVN)
def _mvn(layer: MVN, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    (top,) = layer.top_shapes(shape)
    lead = 1 if layer.param.across_channels else 2
    count = math.prod(shape[:lead])
    rows = graph.reshaped(x, (count, math.prod(shape) // max(1, count)))
    apart = graph.op("Sub", rows, graph.reduced("ReduceMean", rows, [1]))
    if layer.param.normalize_variance:
        variance = graph.reduced("ReduceMean", graph.op("Mul", apart, apart), [1])
        deviation = graph.plus(graph.op("Sqrt", variance), layer.param.eps)
        apart = graph.op("Div", apart, deviation)
    return graph.reshaped(apart, top)


@onnx.rule(Normalize)
def _normalize(layer: Normalize, graph: OnnxGraph, x: Value) -> Value:
    axes = len(graph.shape(x))
    summed = list(range(1, axes)) if layer.param.across_spatial else [1]
    squares = graph.reduced("ReduceSum", graph.op("Mul", x, x), summed)
    length = graph.op("Sqrt", graph.plus(squares, layer.param.eps))
    scale = graph.arrays()[0].numpy().reshape(-1, *[1] * (axes - 2))
    return graph.op("Mul", graph.op("Div", x, length), graph.parameter(0, scale))


def _aligned(layer: AlongAxes[Any], operand: Shape, bottom: Shape) -> Shape:
    """The operand's shape as it spreads over the bottom."""
    axis = layer.param.axis % len(bottom) if operand else 0
    return (*operand, *[1] * (len(bottom) - axis - len(operand)))


def _operand(layer: AlongAxes[Any], graph: OnnxGraph, x: Value, others: Sequence[Value]) -> Value:
    bottom = graph.shape(x)
    if others:
        own = graph.shape(others[0])
        shape = _aligned(layer, own, bottom)
        return others[0] if shape == own else graph.reshaped(others[0], shape)
    own = layer.blobs[0].shape
    return graph.parameter(0, graph.arrays()[0].numpy().reshape(_aligned(layer, own, bottom)))


@onnx.rule(Scale)
def _scale(layer: Scale, graph: OnnxGraph, x: Value, *others: Value) -> Value:
    y = graph.op("Mul", x, _operand(layer, graph, x, others))
    if not layer.param.bias_term:
        return y
    index = 0 if others else 1
    own = layer.blobs[index].shape
    bias = graph.arrays()[index].numpy().reshape(_aligned(layer, own, graph.shape(x)))
    return graph.op("Add", y, graph.parameter(index, bias))


@onnx.rule(Bias)
def _bias(layer: Bias, graph: OnnxGraph, x: Value, *others: Value) -> Value:
    return graph.op("Add", x, _operand(layer, graph, x, others))
