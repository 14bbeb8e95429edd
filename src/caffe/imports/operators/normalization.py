"""Normalization by stored statistics and by the value's own."""

from __future__ import annotations

import math

import numpy as np

from ...errors import NetError
from ..caffe_graph import CaffeGraph, Node, Value, onnx
from .arithmetic import multiplied, summed
from .product import along_channels, matrix_applied
from .shape import cut


@onnx("BatchNormalization")
def batch_norm(graph: CaffeGraph, node: Node) -> Value:
    if node.get("training_mode", 0):
        raise NetError("it takes the batch's own statistics: export the model in eval mode")
    x = node.value(0)
    scale, bias = node.array(1, "scale"), node.array(2, "bias")
    mean, variance = node.array(3, "mean"), node.array(4, "variance")
    eps = float(node.get("epsilon", 1e-5))
    y = graph.layer(
        "BatchNorm",
        x,
        arrays=[mean, variance, np.ones(1)],
        # Said once more for readers who take the default for training.
        batch_norm_param={"use_global_stats": True, "eps": eps},
    )
    return graph.layer("Scale", y, arrays=[scale, bias], scale_param={"bias_term": True})


@onnx("LRN")
def across_channels(graph: CaffeGraph, node: Node) -> Value:
    size = int(node.need("size"))
    if size % 2 == 0:
        raise NetError(f"Caffe's LRN has an odd number of channels in a sum, not {size}")
    alpha, beta = float(node.get("alpha", 1e-4)), float(node.get("beta", 0.75))
    shift = float(node.get("bias", 1.0))
    if shift == 1 or graph.target.shifts_lrn:
        param = {"local_size": size, "alpha": alpha, "beta": beta, "k": shift}
        return graph.layer("LRN", node.value(0), lrn_param=param)
    if shift <= 0:
        raise NetError(f"{graph.target.full_name}'s LRN adds 1, and {shift:g} is no multiple of it")
    # x / (k + a) ** b = k ** -b * x / (1 + a / k) ** b
    param = {"local_size": size, "alpha": alpha / shift, "beta": beta}
    y = graph.layer("LRN", node.value(0), lrn_param=param)
    return graph.power(y, scale=shift**-beta)


def normalized(graph: CaffeGraph, x: Value, axis: int, eps: float) -> Value:
    """Return vectors along an axis less their mean, divided by their standard deviation."""
    own = x.order[axis]
    count = x.blob.shape[own]

    def work(channels: Value) -> Value:
        if not graph.target.divides_by_roots:
            # One channel more holds what is added to the variance.
            matrix = np.vstack([np.eye(count) - 1 / count, np.zeros((1, count))])
            bias = np.append(np.zeros(count), math.sqrt(count * eps))
            longer = matrix_applied(graph, channels, 1, matrix, bias)
            return cut(graph, scaled_to(graph, longer, math.sqrt(count)), 1, 0, count)
        mean = matrix_applied(graph, channels, 1, np.full((1, count), -1 / count))
        channels = summed(graph, channels, matrix_applied(graph, mean, 1, np.ones((count, 1))))
        square = multiplied(graph, channels, channels)
        variance = matrix_applied(graph, square, 1, np.full((1, count), 1 / count))
        factor = graph.power(variance, power=-0.5, shift=eps)
        return multiplied(graph, channels, matrix_applied(graph, factor, 1, np.ones((count, 1))))

    return graph.alike(x, along_channels(graph, Value(x.blob), own, work))


def scaled_to(graph: CaffeGraph, channels: Value, length: float) -> Value:
    """Return each place's vector of channels, as long as that."""
    settings = {"across_spatial": False, "channel_shared": False}
    factors = np.full(channels.shape[1], length)
    return graph.layer("Normalize", channels, arrays=[factors], norm_param=settings)


@onnx("LayerNormalization", any_order=True)
def layer_norm(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    axis = node.axis(-1)
    shape = x.shape
    if axis != len(shape) - 1:
        x = graph.reshaped(x, [*shape[:axis], math.prod(shape[axis:])])
    y = normalized(graph, x, axis, float(node.get("epsilon", 1e-5)))
    y = multiplied(graph, y, Value(array=node.array(1, "scale").reshape(-1)))
    if node.has(2):
        y = summed(graph, y, Value(array=node.array(2, "bias").reshape(-1)))
    return y if axis == len(shape) - 1 else graph.reshaped(y, shape)


@onnx("InstanceNormalization", "GroupNormalization")
def by_group(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    scale, bias = node.array(1, "scale"), node.array(2, "bias")
    groups = int(node.get("num_groups", x.shape[1]))
    y = graph.reshaped(x, [x.shape[0] * groups, math.prod(x.shape[1:]) // groups])
    y = normalized(graph, y, 1, float(node.get("epsilon", 1e-5)))
    y = graph.reshaped(y, x.shape)
    if len(scale) != x.shape[1]:
        repeats = x.shape[1] // len(scale)
        scale, bias = np.repeat(scale, repeats), np.repeat(bias, repeats)
    spread = (-1, *[1] * (len(x.shape) - 2))
    y = multiplied(graph, y, Value(array=scale.reshape(spread)))
    return summed(graph, y, Value(array=bias.reshape(spread)))
