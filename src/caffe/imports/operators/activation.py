"""What works on each number by itself; what Caffe has no layer for is put together of others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...errors import NetError
from ..caffe_graph import CaffeGraph, Node, Value, onnx
from .arithmetic import multiplied, summed

NORMAL = (
    *(1.5956562738590563, 0.0729375792137336, -0.00024972232383899985),
    *(-6.11621398631211e-05, 2.238170100560266e-06),
)
"""P, for which sigmoid(x * P(x * x)) is the normal distribution's integral up to x, but for 7e-6,
and x times it is GELU, but for 4e-6. The last number is positive: far out it goes the right way."""

NORMAL_BY_TANH = (2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715)
"""The same as PyTorch's approximation of GELU has it."""

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _plain_unary(kind: str, layer: str) -> None:
    def rule(graph: CaffeGraph, node: Node) -> Value:
        return graph.unary(layer, node.value(0))

    onnx(kind, any_order=True)(rule)


for _kind, _layer in (
    *(("Relu", "ReLU"), ("Sigmoid", "Sigmoid"), ("Tanh", "TanH"), ("Softplus", "BNLL")),
):
    _plain_unary(_kind, _layer)


@onnx("Abs", any_order=True)
def absolute(graph: CaffeGraph, node: Node) -> Value:
    return size_of(graph, node.value(0))


def size_of(graph: CaffeGraph, x: Value) -> Value:
    """Return the absolute values."""
    if graph.target.knows("AbsVal"):
        return graph.unary("AbsVal", x)
    return summed(graph, graph.unary("ReLU", x), graph.unary("ReLU", graph.power(x, scale=-1)))


@onnx("Exp", any_order=True)
def exponential(graph: CaffeGraph, node: Node) -> Value:
    return _exp(graph, node.value(0))


def _exp(graph: CaffeGraph, x: Value) -> Value:
    if graph.target.knows("Exp"):
        return graph.unary("Exp", x)
    # sigmoid(x) / sigmoid(-x), whose parts are exact far out, too
    below = graph.unary("Sigmoid", graph.power(x, scale=-1))
    return multiplied(graph, graph.unary("Sigmoid", x), graph.power(below, power=-1))


@onnx("Log", any_order=True)
def natural_logarithm(graph: CaffeGraph, node: Node) -> Value:
    return _log(graph, node.value(0))


def _log(graph: CaffeGraph, x: Value) -> Value:
    base = graph.target.log_base
    return graph.unary("Log", x, log_param={} if base is None else {"base": base})


@onnx("LeakyRelu", any_order=True)
def leaky(graph: CaffeGraph, node: Node) -> Value:
    slope = float(node.get("alpha", 0.01))
    return graph.unary("ReLU", node.value(0), relu_param={"negative_slope": slope})


@onnx("PRelu")
def prelu(graph: CaffeGraph, node: Node) -> Value:
    x, slopes = node.value(0), node.array(1, "slope")
    if slopes.size == 1:
        param = {"channel_shared": True}
        return graph.layer("PReLU", x, arrays=[slopes.reshape(())], prelu_param=param)
    aligned = slopes.reshape((1,) * (len(x.shape) - slopes.ndim) + slopes.shape)
    if aligned.size != x.shape[1]:
        raise NetError("Caffe's PReLU has one slope for each channel, no others")
    return graph.layer("PReLU", x, arrays=[aligned.reshape(-1)])


@onnx("Elu", any_order=True)
def elu(graph: CaffeGraph, node: Node) -> Value:
    return _elu(graph, node.value(0), float(node.get("alpha", 1.0)))


def _elu(graph: CaffeGraph, x: Value, alpha: float) -> Value:
    if graph.target.knows("ELU"):
        return graph.unary("ELU", x, elu_param={} if alpha == 1 else {"alpha": alpha})
    # relu(x) + alpha * (exp(-relu(-x)) - 1)
    below = graph.unary("ReLU", graph.power(x, scale=-1))
    curve = graph.power(_exp(graph, graph.power(below, scale=-1)), scale=alpha, shift=-alpha)
    return summed(graph, graph.unary("ReLU", x), curve)


@onnx("Selu", any_order=True)
def selu(graph: CaffeGraph, node: Node) -> Value:
    alpha = float(node.get("alpha", SELU_ALPHA))
    y = _elu(graph, node.value(0), alpha)
    return graph.power(y, scale=float(node.get("gamma", SELU_SCALE)))


@onnx("Celu", any_order=True)
def celu(graph: CaffeGraph, node: Node) -> Value:
    alpha = float(node.get("alpha", 1.0))
    # alpha * elu(x / alpha), alpha > 0
    y = _elu(graph, graph.power(node.value(0), scale=1 / alpha), 1)
    return graph.power(y, scale=alpha)


@onnx("Clip", any_order=True)
def clip(graph: CaffeGraph, node: Node) -> Value:
    least = node.setting("min", 1)
    most = node.setting("max", 2)
    return clipped(
        graph,
        node.value(0),
        -math.inf if least is None else float(np.asarray(least).item()),
        math.inf if most is None else float(np.asarray(most).item()),
    )


def clipped(graph: CaffeGraph, x: Value, least: float, most: float) -> Value:
    """Return a value held between bounds."""
    largest = float(np.finfo(np.float32).max)
    has_least, has_most = least > -largest, most < largest
    if least == 0 and most == 6 and graph.target.knows("ReLU6"):
        return graph.unary("ReLU6", x)
    if has_least and has_most and graph.target.knows("Clip"):
        return graph.unary("Clip", x, clip_param={"min": least, "max": most})
    if not has_least and not has_most:
        return x
    if not has_least:
        x = graph.unary("ReLU", graph.power(x, scale=-1, shift=most))
        return graph.power(x, scale=-1, shift=most)
    x = graph.unary("ReLU", graph.power(x, shift=-least))
    if not has_most:
        return graph.power(x, shift=least)
    # most - relu(most - least - relu(x - least))
    x = graph.unary("ReLU", graph.power(x, scale=-1, shift=most - least))
    return graph.power(x, scale=-1, shift=most)


@onnx("HardSigmoid", any_order=True)
def hard_sigmoid(graph: CaffeGraph, node: Node) -> Value:
    alpha, beta = float(node.get("alpha", 0.2)), float(node.get("beta", 0.5))
    return clipped(graph, graph.power(node.value(0), scale=alpha, shift=beta), 0, 1)


@onnx("HardSwish", any_order=True)
def hard_swish(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    gate = clipped(graph, graph.power(x, shift=3), 0, 6)
    return graph.power(multiplied(graph, x, gate), scale=1 / 6)


@onnx("Swish", any_order=True)
def swish(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    gate = graph.unary("Sigmoid", graph.power(x, scale=float(node.get("alpha", 1.0))))
    return multiplied(graph, x, gate)


@onnx("Mish", any_order=True)
def mish(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    if graph.target.knows("BNLL"):
        return multiplied(graph, x, graph.unary("TanH", graph.unary("BNLL", x)))
    if graph.target.knows("Mish"):
        return graph.unary("Mish", x)
    # tanh(log(1 + exp(x))) = 2 / (1 + t * t) - 1, t being sigmoid(-x)
    t = graph.unary("Sigmoid", graph.power(x, scale=-1))
    gate = graph.power(multiplied(graph, t, t), power=-1, shift=1)
    return multiplied(graph, x, graph.power(gate, scale=2, shift=-1))


def odd_polynomial(graph: CaffeGraph, x: Value, factors: Sequence[float]) -> Value:
    """Return x * (factors[0] + factors[1] * x ** 2 + factors[2] * x ** 4 + ...)."""
    square = multiplied(graph, x, x)
    y = graph.power(square, scale=factors[-1], shift=factors[-2])
    for factor in factors[-3::-1]:
        y = graph.power(multiplied(graph, y, square), shift=factor)
    return multiplied(graph, x, y)


@onnx("Gelu", any_order=True)
def gelu(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    factors = NORMAL_BY_TANH if node.get("approximate", "none") == "tanh" else NORMAL
    return multiplied(graph, x, graph.unary("Sigmoid", odd_polynomial(graph, x, factors)))


@onnx("Erf", any_order=True)
def error_function(graph: CaffeGraph, node: Node) -> Value:
    x = graph.power(node.value(0), scale=math.sqrt(2))
    half = [factor / 2 for factor in NORMAL]
    return graph.unary("TanH", odd_polynomial(graph, x, half))


@onnx("Softsign", any_order=True)
def softsign(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    return multiplied(graph, x, graph.power(size_of(graph, x), power=-1, shift=1))


@onnx("ThresholdedRelu", any_order=True)
def thresholded(graph: CaffeGraph, node: Node) -> Value:
    x, alpha = node.value(0), float(node.get("alpha", 1.0))
    passes = graph.unary("Threshold", x, threshold_param={"threshold": alpha})
    return multiplied(graph, x, passes)


@onnx("Softmax", "LogSoftmax")
def softmax(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    axis = node.axis(1 if node.opset < 13 else -1)
    shape = x.shape
    if node.opset < 13 and any(n != 1 for n in shape[axis + 1 :]):
        # Older operators take all axes from this one on as one.
        x = graph.reshaped(x, [math.prod(shape[:axis]), math.prod(shape[axis:])])
        axis = 1
    y = graph.layer("Softmax", x, softmax_param={} if axis == 1 else {"axis": axis})
    if node.kind == "LogSoftmax":
        y = _log(graph, y)
    return graph.reshaped(y, shape)


@onnx("Identity", "Dropout", "Cast", "CastLike", any_order=True)
def same(graph: CaffeGraph, node: Node) -> Value:
    return node.value(0)
