"""Sums, products and the like, of blobs and of numbers that are known; shapes are made to fit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import NetError
from ...memory.blob import Shape
from ..caffe_graph import Array, CaffeGraph, Node, Value, onnx
from .known import as_blob
from .product import check_length, matrix_applied

PROD, SUM, MAX = 0, 1, 2
"""EltwiseParameter's operations."""


@onnx("Add", any_order=True)
def add(graph: CaffeGraph, node: Node) -> Value:
    return summed(graph, node.value(0), node.value(1))


@onnx("Sub", any_order=True)
def subtract(graph: CaffeGraph, node: Node) -> Value:
    x, y = node.value(0), node.value(1)
    if y.is_constant:
        return summed(graph, x, Value(array=-node.array(1)))
    if x.is_constant:
        return summed(graph, graph.power(y, scale=-1), x)
    if x.shape == y.shape:
        x, y = _same_order(graph, x, y)
        made = graph.layer("Eltwise", x.blob, y.blob, eltwise_param={"coeff": [1, -1]})
        return graph.alike(x, made)
    return summed(graph, x, graph.power(y, scale=-1))


@onnx("Mul", any_order=True)
def multiply(graph: CaffeGraph, node: Node) -> Value:
    return multiplied(graph, node.value(0), node.value(1))


@onnx("Div", any_order=True)
def divide(graph: CaffeGraph, node: Node) -> Value:
    x, y = node.value(0), node.value(1)
    if y.is_constant:
        divisors = node.array(1).astype(np.float64)
        if not divisors.all():
            raise NetError("it divides by 0")
        return multiplied(graph, x, Value(array=1 / divisors))
    return multiplied(graph, graph.power(y, power=-1), x)


@onnx("Sum", "Mean", any_order=True)
def sum_of_many(graph: CaffeGraph, node: Node) -> Value:
    values = [value for value in node.inputs if value is not None]
    y = functools.reduce(functools.partial(summed, graph), values)
    return graph.power(y, scale=1 / len(values)) if node.kind == "Mean" else y


@onnx("Max", "Min", any_order=True)
def extreme(graph: CaffeGraph, node: Node) -> Value:
    values = [value for value in node.inputs if value is not None]
    sign = 1 if node.kind == "Max" else -1
    signed = [v if sign == 1 else _negative(graph, v) for v in values]
    y = functools.reduce(functools.partial(larger, graph), signed)
    return graph.power(y, scale=sign)


def _negative(graph: CaffeGraph, x: Value) -> Value:
    return Value(array=-x.array) if x.array is not None else graph.power(x, scale=-1)


def larger(graph: CaffeGraph, x: Value, y: Value) -> Value:
    """Return the larger one of two values at each place."""
    if x.is_constant:
        x, y = y, x
    if y.array is not None:
        numbers = np.unique(y.array)
        if len(numbers) != 1:
            shape = np.broadcast_shapes(x.shape, y.shape)
            return larger(graph, x, as_blob(graph, np.broadcast_to(y.array, shape), x))
        bound = float(numbers[0])
        # max(x, b) = b + relu(x - b)
        x = graph.power(x, shift=-bound)
        return graph.power(graph.unary("ReLU", x), shift=bound)
    x, y = _fitted(graph, x, y)
    return graph.alike(x, graph.layer("Eltwise", x.blob, y.blob, eltwise_param={"operation": MAX}))


@onnx("Neg", any_order=True)
def negative(graph: CaffeGraph, node: Node) -> Value:
    return graph.power(node.value(0), scale=-1)


@onnx("Pow", any_order=True)
def power(graph: CaffeGraph, node: Node) -> Value:
    exponents = np.unique(node.array(1, "exponent"))
    if len(exponents) != 1:
        raise NetError("each number has an exponent of its own, which no layer of Caffe's has")
    exponent = float(exponents[0])
    if exponent == 2 and not graph.target.knows("Power"):
        x = node.value(0)
        return multiplied(graph, x, x)
    return graph.power(node.value(0), power=exponent)


@onnx("Sqrt", any_order=True)
def root(graph: CaffeGraph, node: Node) -> Value:
    return graph.power(node.value(0), power=0.5)


@onnx("Reciprocal", any_order=True)
def reciprocal(graph: CaffeGraph, node: Node) -> Value:
    return graph.power(node.value(0), power=-1)


def summed(graph: CaffeGraph, x: Value, y: Value) -> Value:
    """Return the sum of two values, either of which may be known."""
    if x.is_constant:
        x, y = y, x
    if y.array is not None:
        return _with_constant(graph, x, y.array, _constant_added, shift=True)
    wide, narrow = _by_size(x, y)
    if graph.target.knows("Bias") and (operand := _channels(graph, wide, narrow)) is not None:
        return graph.layer("Bias", wide, operand, bias_param={"axis": 0})
    x, y = _fitted(graph, x, y)
    return graph.alike(x, graph.layer("Eltwise", x.blob, y.blob))


def multiplied(graph: CaffeGraph, x: Value, y: Value) -> Value:
    """Return the product of two values, either of which may be known."""
    if x.is_constant:
        x, y = y, x
    if y.array is not None:
        return _with_constant(graph, x, y.array, _constant_multiplied, shift=False)
    wide, narrow = _by_size(x, y)
    if (operand := _channels(graph, wide, narrow)) is not None:
        return graph.layer("Scale", wide, operand, scale_param={"axis": 0})
    x, y = _fitted(graph, x, y)
    made = graph.layer("Eltwise", x.blob, y.blob, eltwise_param={"operation": PROD})
    return graph.alike(x, made)


def _by_size(x: Value, y: Value) -> tuple[Value, Value]:
    return (x, y) if np.prod(x.shape) >= np.prod(y.shape) else (y, x)


def _channels(graph: CaffeGraph, wide: Value, narrow: Value) -> Value | None:
    """One number for each channel of each item, of shape (N, C); None where that is not it."""
    if not graph.target.channel_operand or not wide.is_plain or len(wide.shape) < 3:
        return None
    shape = (1,) * (len(wide.shape) - len(narrow.shape)) + narrow.shape
    if wide.shape == shape or shape != (*wide.shape[:2], *[1] * (len(wide.shape) - 2)):
        return None
    return graph.reshaped(narrow, wide.shape[:2])


def _same_order(graph: CaffeGraph, x: Value, y: Value) -> tuple[Value, Value]:
    if x.order == y.order:
        return x, y
    return graph.plain(x), graph.plain(y)


def _fitted(graph: CaffeGraph, x: Value, y: Value) -> tuple[Value, Value]:
    """Two values brought to one shape and order, each repeated where it is short."""
    if x.shape != y.shape:
        shape = np.broadcast_shapes(x.shape, y.shape)
        x, y = expanded(graph, x, shape), expanded(graph, y, shape)
    return _same_order(graph, x, y)


def expanded(graph: CaffeGraph, x: Value, shape: Shape) -> Value:
    """Return a value repeated along the axes that are 1."""
    if x.array is not None:
        return Value(array=np.broadcast_to(x.array, shape))
    if x.shape == tuple(shape):
        return x
    check_length(max(shape))
    x = graph.reshaped(x, [1] * (len(shape) - len(x.shape)) + list(x.shape))
    if len(shape) == 4 and x.shape[2:] == (1, 1) and tuple(shape[2:]) != (1, 1):
        x = _over_places(graph, x, shape[2:])
    for axis, (n, wanted) in enumerate(zip(x.shape, shape, strict=True)):
        if n != wanted:
            x = matrix_applied(graph, x, axis, np.ones((wanted, 1)))
    return x


def _over_places(graph: CaffeGraph, x: Value, size: Sequence[int]) -> Value:
    from .convolution import deconvolved

    channels = x.shape[1]
    return deconvolved(graph, x, np.ones((channels, 1, *size)), group=channels)


# Known numbers.


def _with_constant(
    graph: CaffeGraph,
    x: Value,
    numbers: Array,
    rule: Callable[[CaffeGraph, Value, Array], Value],
    shift: bool,
) -> Value:
    shape = np.broadcast_shapes(x.shape, numbers.shape)
    if shape != x.shape:
        x = expanded(graph, x, shape)
    if (numbers == numbers.flat[0]).all() if numbers.size else False:
        number = float(numbers.flat[0])
        return graph.power(x, shift=number) if shift else graph.power(x, scale=number)
    numbers = numbers.reshape((1,) * (len(x.shape) - numbers.ndim) + numbers.shape)
    # Into the order of the blob's own axes.
    own = np.empty(len(x.order), int)
    own[list(x.order)] = range(len(x.order))
    numbers = numbers.transpose(own)
    return graph.alike(x, rule(graph, Value(x.blob), numbers))


def _covering(shape: Shape, numbers: Array) -> tuple[int, Array]:
    """The first axis along which numbers differ, and all numbers from there to the last such."""
    longs = [axis for axis, n in enumerate(numbers.shape) if n > 1]
    first, last = longs[0], longs[-1]
    full = (*[1] * first, *shape[first : last + 1], *[1] * (len(shape) - last - 1))
    covered = np.broadcast_to(numbers, full).reshape(shape[first : last + 1])
    return first, covered


def _fields(axis: int, count: int) -> dict[str, object]:
    fields: dict[str, object] = {} if axis == 1 else {"axis": axis}
    return fields if count == 1 else {**fields, "num_axes": count}


def _constant_multiplied(graph: CaffeGraph, x: Value, numbers: Array) -> Value:
    axis, factors = _covering(x.shape, numbers)
    if not graph.target.any_axes and (axis, factors.ndim) != (1, 1):
        whole = as_blob(graph, np.broadcast_to(numbers, (len(numbers), *x.shape[1:])), x)
        return graph.layer("Eltwise", x, whole, eltwise_param={"operation": PROD})
    return graph.layer("Scale", x, arrays=[factors], scale_param=_fields(axis, factors.ndim))


def _constant_added(graph: CaffeGraph, x: Value, numbers: Array) -> Value:
    axis, summands = _covering(x.shape, numbers)
    if not graph.target.any_axes and (axis, summands.ndim) != (1, 1):
        whole = as_blob(graph, np.broadcast_to(numbers, (len(numbers), *x.shape[1:])), x)
        return graph.layer("Eltwise", x, whole)
    fields = _fields(axis, summands.ndim)
    if graph.target.knows("Bias"):
        return graph.layer("Bias", x, arrays=[summands], bias_param=fields)
    arrays = [np.ones_like(summands), summands]
    return graph.layer("Scale", x, arrays=arrays, scale_param={**fields, "bias_term": True})


def channels_scaled(graph: CaffeGraph, x: Value, factors: Array, summands: Array) -> Value:
    """Return a value's channels times factors, plus summands."""
    return graph.layer("Scale", x, arrays=[factors, summands], scale_param={"bias_term": True})


def places_scaled(graph: CaffeGraph, x: Value, factors: Array) -> Value:
    """Return (N, C, H, W) times a factor for each place."""
    return _constant_multiplied(graph, x, factors[None, None])
