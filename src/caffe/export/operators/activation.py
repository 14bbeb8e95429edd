"""Activations and other formulas number by number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...layers.activation import (
    BNLL,
    ELU,
    AbsVal,
    BoundedReLU,
    Clip,
    HardSigmoid,
    HardSwish,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    Swish,
    TanH,
    Threshold,
)
from ...layers.dropout import Dropout, Dropping, SamplingDropout, SpatialDropout
from ...layers.elementwise import Exp, Log, Power
from ...layers.softmax import Softmax
from ...memory.blob import Shape
from ...pytorch import torch
from ..onnx_graph import OnnxGraph, Value, onnx, refuse


def rectified(layer: ReLU | BoundedReLU[Any], graph: OnnxGraph, x: Value) -> Value:
    """Return x where it is positive, and a part of it elsewhere."""
    slope = layer.param.negative_slope
    return graph.op("LeakyRelu", x, alpha=slope) if slope else graph.op("Relu", x)


@onnx.rule(ReLU)
def _relu(layer: ReLU, graph: OnnxGraph, x: Value) -> Value:
    return rectified(layer, graph, x)


@onnx.rule(BoundedReLU, ReLU6)
def _bounded_relu(layer: BoundedReLU[Any], graph: OnnxGraph, x: Value) -> Value:
    least, most = layer.bounds()
    return graph.clipped(rectified(layer, graph, x), least, max(least, most))


@onnx.rule(Clip)
def _clip(layer: Clip, graph: OnnxGraph, x: Value) -> Value:
    return graph.clipped(x, layer.param.min, max(layer.param.min, layer.param.max))


@onnx.rule(PReLU)
def _prelu(layer: PReLU, graph: OnnxGraph, x: Value) -> Value:
    (slope,) = graph.arrays()
    across = [1] * (len(graph.shape(x)) - 2)
    return graph.op("PRelu", x, graph.parameter(0, slope.numpy().reshape(-1, *across)))


@onnx.rule(ELU)
def _elu(layer: ELU, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Elu", x, alpha=layer.param.alpha)


@onnx.rule(Sigmoid)
def _sigmoid(layer: Sigmoid, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Sigmoid", x)


@onnx.rule(TanH)
def _tanh(layer: TanH, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Tanh", x)


@onnx.rule(BNLL)
def _bnll(layer: BNLL, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Softplus", x)


@onnx.rule(AbsVal)
def _absolute(layer: AbsVal, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Abs", x)


@onnx.rule(Swish)
def _swish(layer: Swish, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Mul", x, graph.op("Sigmoid", graph.times(x, layer.param.beta)))


@onnx.rule(Mish)
def _mish(layer: Mish, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Mul", x, graph.op("Tanh", graph.op("Softplus", x)))


@onnx.rule(HardSigmoid)
def _hard_sigmoid(layer: HardSigmoid, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("HardSigmoid", x, alpha=layer.param.alpha, beta=layer.param.beta)


@onnx.rule(HardSwish)
def _hard_swish(layer: HardSwish, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("HardSwish", x)


@onnx.rule(Threshold)
def _threshold(layer: Threshold, graph: OnnxGraph, x: Value) -> Value:
    limit = graph.constant(np.float32(layer.param.threshold))
    return graph.floating(graph.op("Greater", x, limit))


@onnx.rule(Power)
def _power(layer: Power, graph: OnnxGraph, x: Value) -> Value:
    power, scale, shift = layer.param.power, layer.param.scale, layer.param.shift
    if scale * power == 0:
        fixed = float(layer.forward(torch.zeros(1, dtype=torch.float32)))
        return graph.op("Add", graph.times(x, 0), graph.constant(np.float32(fixed)))
    inner = graph.plus(graph.times(x, scale), shift)
    if power != 1:
        return graph.op("Pow", inner, graph.constant(np.float32(power)))
    return inner


def _log(base: float) -> float:
    return 1.0 if base == -1 else math.log(base)


@onnx.rule(Exp)
def _exp(layer: Exp, graph: OnnxGraph, x: Value) -> Value:
    inner = graph.plus(graph.times(x, layer.param.scale), layer.param.shift)
    return graph.op("Exp", graph.times(inner, _log(layer.param.base)))


@onnx.rule(Log)
def _logarithm(layer: Log, graph: OnnxGraph, x: Value) -> Value:
    inner = graph.plus(graph.times(x, layer.param.scale), layer.param.shift)
    return graph.times(graph.op("Log", inner), 1 / _log(layer.param.base))


@onnx.rule(Softmax)
def _softmax(layer: Softmax, graph: OnnxGraph, x: Value) -> Value:
    return graph.op("Softmax", x, axis=layer.axis(layer.param.axis, graph.shape(x)))


def _draws(layer: Dropping[Any], *bottoms: Shape) -> str | None:
    return "it draws at TRAIN; make the net for caffe.TEST" if layer.draws else None


@onnx.rule(Dropout, SpatialDropout, unless=_draws)
def _dropout(layer: Dropping[Any], graph: OnnxGraph, x: Value) -> Value:
    return x if layer.passes_on else graph.times(x, 1 - layer.param.dropout_ratio)


refuse("with sample_weights_test each forward is to give another answer", SamplingDropout)
