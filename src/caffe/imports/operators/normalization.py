"""Normalization by stored statistics and by the value's own."""

from __future__ import annotations

import math

import numpy as np

from ...errors import NetError
from ..caffe_graph import CaffeGraph, Node, Value, onnx
from .arithmetic import multiplied, summed
from .product import along_channels, matrix_applied


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
    size = int(node.get("size"))
    if size % 2 == 0:
        raise NetError(f"Caffe's LRN has an odd number of channels in a sum, not {size}")
    param = {
        "local_size": size,
        "alpha": float(node.get("alpha", 1e-4)),
        "beta": float(node.get("beta", 0.75)),
        "k": float(node.get("bias", 1.0)),
    }
    return graph.layer("LRN", node.value(0), lrn_param=param)


def normalized(graph: CaffeGraph, x: Value, axis: int, eps: float, centred: bool = True) -> Value:
    """Return vectors along an axis less their mean, divided by their standard deviation."""
    own = x.order[axis]
    count = x.blob.shape[own]

    def work(channels: Value) -> Value:
        if centred:
            mean = matrix_applied(graph, channels, 1, np.full((1, count), -1 / count))
            channels = summed(graph, channels, matrix_applied(graph, mean, 1, np.ones((count, 1))))
        square = multiplied(graph, channels, channels)
        variance = matrix_applied(graph, square, 1, np.full((1, count), 1 / count))
        factor = graph.power(variance, power=-0.5, shift=eps)
        return multiplied(graph, channels, matrix_applied(graph, factor, 1, np.ones((count, 1))))

    return graph.alike(x, along_channels(graph, Value(x.blob), own, work))


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
