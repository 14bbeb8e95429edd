"""Sums, means, largest values and norms along axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from ...errors import NetError
from ..caffe_graph import CaffeGraph, Node, Value, onnx
from .activation import size_of
from .arithmetic import multiplied
from .normalization import scaled_to
from .pooling import whole
from .product import along_channels, matrix_applied


@onnx(
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"),
    "ReduceSumSquare",
    any_order=True,
)
def reduce(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    rank = len(x.shape)
    axes = node.setting("axes", 1)
    if axes is None:
        if node.get("noop_with_empty_axes", 0):
            return x
        axes = list(range(rank))
    axes = sorted(axis % rank for axis in ([axes] if isinstance(axes, int) else axes))
    y = _reduced(graph, x, node.kind.removeprefix("Reduce"), axes)
    if node.get("keepdims", 1):
        return y
    return graph.reshaped(y, [n for i, n in enumerate(y.shape) if i not in axes])


def _reduced(graph: CaffeGraph, x: Value, kind: str, axes: Sequence[int]) -> Value:
    if kind == "SumSquare":
        return _reduced(graph, multiplied(graph, x, x), "Sum", axes)
    if kind == "L2":
        return graph.power(_reduced(graph, x, "SumSquare", axes), power=0.5)
    if kind == "L1":
        return _reduced(graph, size_of(graph, x), "Sum", axes)
    if kind == "Min":
        return graph.power(_reduced(graph, graph.power(x, scale=-1), "Max", axes), scale=-1)
    count = math.prod(x.shape[axis] for axis in axes)
    places = {x.order[axis] for axis in axes}
    if places == set(range(2, len(x.blob.shape))) and len(x.blob.shape) > 2:
        y = graph.alike(x, whole(graph, Value(x.blob), "MAX" if kind == "Max" else "AVE"))
        return graph.power(y, scale=count) if kind == "Sum" else y
    for axis in axes:
        n = x.shape[axis]
        if n == 1:
            continue
        if kind == "Max":
            x = _largest(graph, x, axis)
        else:
            weight = 1.0 if kind == "Sum" else 1 / n
            x = matrix_applied(graph, x, axis, np.full((1, n), weight))
    return x


def _largest(graph: CaffeGraph, x: Value, axis: int) -> Value:
    """The largest value along one axis, by pooling over it."""
    own = x.order[axis]
    shape = x.blob.shape
    before, behind = math.prod(shape[:own]), math.prod(shape[own + 1 :])
    y = graph.reshaped(Value(x.blob), [1, before, shape[own], behind])
    settings = {"pool": 0, "kernel_h": shape[own], "kernel_w": 1}
    y = graph.layer("Pooling", y, pooling_param=settings)
    return graph.alike(x, graph.reshaped(y, [*shape[:own], 1, *shape[own + 1 :]]))


@onnx("LpNormalization", any_order=True)
def lp_normalization(graph: CaffeGraph, node: Node) -> Value:
    x, axis, p = node.value(0), node.axis(-1), int(node.get("p", 2))
    if p == 2 and not graph.target.divides_by_roots:
        work = functools.partial(scaled_to, graph, length=1.0)
        return graph.alike(x, along_channels(graph, Value(x.blob), x.order[axis], work))
    norm = _reduced(graph, x, f"L{p}", [axis])
    return multiplied(graph, x, graph.power(norm, power=-1))


@onnx("ArgMax")
def arg_max(graph: CaffeGraph, node: Node) -> Value:
    x, axis = node.value(0), node.axis(0)
    if node.get("select_last_index", 0):
        raise NetError("Caffe's ArgMax gives the first of equal values, not the last")
    y = graph.layer("ArgMax", x, argmax_param={"axis": axis})
    if node.get("keepdims", 1):
        return y
    return graph.reshaped(y, [n for i, n in enumerate(y.shape) if i != axis])
