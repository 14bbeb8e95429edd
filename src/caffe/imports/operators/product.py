"""Products with matrices that are known, along any axis."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...errors import NetError
from ..caffe_graph import Array, CaffeGraph, Node, Value, onnx


@onnx("Gemm", any_order=True)
def gemm(graph: CaffeGraph, node: Node) -> Value:
    if not node.value(1).is_constant and not node.value(0).is_constant:
        raise NetError(BOTH)
    weight = node.array(1, "weight").astype(np.float64) * node.get("alpha", 1.0)
    if not node.get("transB", 0):
        weight = weight.T
    x = node.value(0)
    if node.get("transA", 0):
        x = Value(x.blob, x.order[::-1])
    bias = None
    if node.has(2):
        bias = node.array(2, "bias") * node.get("beta", 1.0)
        bias = np.broadcast_to(bias.reshape(-1), len(weight))
    return matrix_applied(graph, x, 1, weight, bias)


LONGEST = 1 << 20

BOTH = (
    "both factors are computed while the net runs (attention does so), which no layer of Caffe's "
    "does; nets without attention can be taken, or its part up to here by --outputs"
)


@onnx("MatMul", any_order=True)
def product(graph: CaffeGraph, node: Node) -> Value:
    x, y = node.value(0), node.value(1)
    if y.array is not None and y.array.ndim <= 2:
        matrix = y.array if y.array.ndim == 2 else y.array[:, None]
        made = matrix_applied(graph, x, len(x.shape) - 1, matrix.T)
        return made if y.array.ndim == 2 else graph.reshaped(made, made.shape[:-1])
    if x.array is not None and x.array.ndim == 2 and len(y.shape) >= 2:
        return matrix_applied(graph, y, len(y.shape) - 2, x.array)
    if x.is_constant or y.is_constant:
        raise NetError("a product with many matrices at once has no layer in Caffe")
    raise NetError(BOTH)


def check_length(count: int) -> None:
    """Refuse lengths that no net has, before memory is taken for them.

    Raises
    ------
    NetError
        It is longer than a line of the largest picture.
    """
    if count > LONGEST:
        raise NetError(f"{count} places along one axis are more than any net has")


def matrix_applied(
    graph: CaffeGraph, x: Value, axis: int, matrix: Array, bias: Array | None = None
) -> Value:
    """Return a value whose vectors along an axis are multiplied by a matrix (outputs, inputs)."""
    own = x.order[axis]
    blob = Value(x.blob)
    shape = blob.shape
    arrays = [matrix] if bias is None else [matrix, bias]
    term = {} if bias is not None else {"bias_term": False}
    if own == len(shape) - 1 and own > 0:
        settings = {"num_output": len(matrix), **term, **({} if own == 1 else {"axis": own})}
        if own == 1 or graph.target.inner_axes:
            made = graph.layer("InnerProduct", blob, arrays=arrays, inner_product_param=settings)
            return graph.alike(x, made)

    def convolved(channels: Value) -> Value:
        kernels = [np.asarray(matrix)[:, :, None, None], *arrays[1:]]
        settings = {"num_output": len(matrix), **term, "kernel_size": 1}
        return graph.layer("Convolution", channels, arrays=kernels, convolution_param=settings)

    return graph.alike(x, along_channels(graph, blob, own, convolved))


def along_channels(graph: CaffeGraph, x: Value, axis: int, work: Callable[[Value], Value]) -> Value:
    """Do something to a plain value whose axis stands as the channels of a picture."""
    shape = x.shape
    if len(shape) == 4 and axis == 1:
        return work(x)
    if len(shape) == 4 and axis > 1 and graph.target.moves_for_products:
        # The axis and the channels change places, and change back.
        order = [0, 1, 2, 3]
        order[1], order[axis] = axis, 1
        y = work(graph.layer("Permute", x, permute_param={"order": order}))
        return graph.layer("Permute", y, permute_param={"order": order})
    if axis >= 1:
        before, behind = shape[:axis], shape[axis + 1 :]
        count = math.prod(behind)
        rows = behind[0] if len(behind) > 1 else count
        y = work(graph.reshaped(x, [math.prod(before), shape[axis], rows, count // rows]))
        return graph.reshaped(y, [*before, y.shape[1], *behind])
    y = work(graph.reshaped(x, [1, shape[0], math.prod(shape[1:]), 1]))
    return graph.reshaped(y, [y.shape[1], *shape[1:]])
