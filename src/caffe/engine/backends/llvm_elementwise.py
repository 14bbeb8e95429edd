"""What layers that change numbers one by one, or join them, are in kernels that LLVM compiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...compiled.functions import MOST_POWER, Function
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
from ...layers.arithmetic import Add, Axpy, Mul
from ...layers.elementwise import Power
from ...layers.eltwise import Eltwise
from ...layers.scale import Bias, Scale
from ...memory.blob import Shape
from ...proto.caffe_pb2 import EltwiseParameter
from ...pytorch import torch
from .llvm_nodes import Linear, PointwiseNode
from .llvm_rules import Graph, in_any_order, llvm
from .llvm_values import Value


def _finished(graph: Graph, top: Value, x: Value, **finish: Any) -> None:
    """Let what computes a value finish it, if it can and nobody else reads it."""
    node = x.maker
    top.is_plain = x.is_plain
    # Exponentials would take the registers in which products are summed up.
    function = finish.get("function")
    is_apart = function is not None and function.has_powers and isinstance(node, Linear)
    if node is None or is_apart or not node.is_plain_but_for_sums or not x.is_passed_on:
        node = PointwiseNode([x], top)
        graph.add(node)
    node.finish = replace(node.finish, **finish)
    node.make(top)


@llvm.rule(
    ReLU,
    BoundedReLU,
    ReLU6,
    Clip,
    unless=lambda layer, *_: None if layer.activation else "another order of slope and bounds",
)
@in_any_order
def _activated(layer: Any, graph: Graph, top: Value, x: Value) -> None:
    activation = layer.activation
    _finished(
        graph, top, x, slope=activation.slope, least=activation.least, most=activation.most
    )  # fmt: skip


NUMBERS: dict[type[Any], Callable[[Any], Function]] = {
    AbsVal: lambda _: Function("absolute"),
    BNLL: lambda _: Function("bnll"),
    ELU: lambda param: Function("elu", (param.alpha,)),
    HardSigmoid: lambda param: Function("hard sigmoid", (param.alpha, param.beta)),
    HardSwish: lambda _: Function("hard swish"),
    Mish: lambda _: Function("mish"),
    Sigmoid: lambda _: Function("sigmoid"),
    Swish: lambda param: Function("swish", (param.beta,)),
    TanH: lambda _: Function("tanh"),
    Threshold: lambda param: Function("threshold", (param.threshold,)),
}
"""What is computed of each number, by the layer and its parameters."""


@llvm.rule(*NUMBERS)
@in_any_order
def _of_each(layer: Any, graph: Graph, top: Value, x: Value) -> None:
    kinds = {kind.computes_as: function for kind, function in NUMBERS.items()}
    _finished(graph, top, x, function=kinds[type(layer).computes_as](layer.param))


@llvm.rule(
    Power,
    unless=lambda layer, *_: "a high power" if layer.param.power > MOST_POWER else None,
)
@in_any_order
def _power(layer: Power, graph: Graph, top: Value, x: Value) -> None:
    power, scale, shift = layer.param.power, layer.param.scale, layer.param.shift
    node = x.maker
    if power * scale == 0:
        top.be(layer.forward(torch.zeros(top.shape, dtype=torch.float32)))
    elif power == 1 and isinstance(node, Linear) and node.is_plain and x.is_passed_on:
        top.is_plain = x.is_plain
        node.fold(*(torch.full((x.channels,), value).double() for value in (scale, shift)))
        node.make(top)
    else:
        _finished(graph, top, x, function=Function("power", (power, scale, shift)))


def _has_no_channels(layer: Any, *shapes: Shape) -> str | None:
    is_known = len(shapes[0]) in (2, 4)
    return None if is_known else "channels that are neither the last axis nor those of pictures"


@llvm.rule(PReLU, unless=_has_no_channels)
def _prelu(layer: PReLU, graph: Graph, top: Value, x: Value) -> None:
    (slopes,) = graph.parameters(layer)
    graph.add(PointwiseNode([x], top, slopes=slopes.view(-1)))


@llvm.rule(Eltwise)
def _eltwise(layer: Eltwise, graph: Graph, top: Value, *xs: Value) -> None:
    if layer.param.operation == EltwiseParameter.SUM:
        _add_up(graph, top, xs, list(layer.param.coeff) or [1.0] * len(xs))
        return
    name = "product" if layer.param.operation == EltwiseParameter.PROD else "most"
    if name == "product" and len(xs) == 2 and _is_gated(graph, top, *xs):
        return
    # Of two equal ones the second is taken, of a later one and an earlier the earlier.
    first, total, *others = xs
    for i, x in enumerate((first, *others)):
        made = top if i == len(others) else top.alike(top.shape)
        graph.add(PointwiseNode([x, total], made, name))
        total = made


def _is_gated(graph: Graph, top: Value, *xs: Value) -> bool:
    """Compute x * sigmoid(x) at once, if a product is that: so Swish is said in nets for Caffe."""
    for x, gate in (xs, xs[::-1]):
        sigmoid = gate.maker
        if not (isinstance(sigmoid, PointwiseNode) and sigmoid.inputs == [x]):
            continue
        if sigmoid.is_just(Function("sigmoid")) and gate.is_passed_on:
            graph.remove(sigmoid)
            # What is left of its readers is this layer.
            x.readers -= 1
            _finished(graph, top, x, function=Function("swish", (1.0,)))
            return True
    return False


def _add_up(graph: Graph, top: Value, xs: Sequence[Value], factors: Sequence[float]) -> None:
    """Sum values, each times its factor; one whose factor is 1 comes first, if there is any."""
    pairs = zip(xs, factors, strict=True)
    (total, factor), *others = sorted(pairs, key=lambda pair: pair[1] != 1)
    if factor != 1 or not others:
        made = top.alike(top.shape) if others else top
        _finished(graph, made, total, function=Function("power", (1, factor, 0.0)))
        total = made
    for i, (x, factor) in enumerate(others):
        made = top if i == len(others) - 1 else top.alike(top.shape)
        if factor == 1:
            _add(graph, made, x, total)
        else:
            by_channel = torch.full((x.channels,), factor, dtype=torch.float32)
            graph.add(PointwiseNode([x, total], made, "sum", by_channel))
        total = made


def _add(graph: Graph, top: Value, *xs: Value) -> None:
    """Add two values: one is added where the other is computed, if that can be."""
    for x, other in (xs, xs[::-1]):
        node = x.maker
        if isinstance(node, Linear) and node.can_add and x.is_passed_on:
            node.add(other, top)
            graph.moves_last(node)
            return
    graph.add(PointwiseNode(xs, top, "sum"))


def _not_for_rows(shape: Shape, other: Shape) -> str | None:
    """Why there are no rows of the other shape of which each is for some of the first shape."""
    if shape == other or (len(shape) == 4 and other in (shape[:2], (*shape[:2], 1, 1))):
        return None
    is_for_all = len(shape) in (2, 4) and other in ((1, shape[1]), (1, shape[1], 1, 1))
    return None if is_for_all else "factors or summands that are not of channels"


def _not_along_channels(layer: Any, *shapes: Shape) -> str | None:
    if len(shapes) == 1 or layer.blobs:
        return "factors or summands that are not of channels"
    shape, other = shapes
    is_row = len(shape) in (2, 4) and other == shape[1:2]
    if not is_row and (reason := _not_for_rows(shape, other)):
        return reason
    # Axes may be as long as those of items and channels.
    return None if layer.axis(layer.param.axis, shape) == int(is_row) else "another axis"


@llvm.rule(Scale, unless=_not_along_channels)
def _scale(layer: Scale, graph: Graph, top: Value, x: Value, factors: Value) -> None:
    graph.add(PointwiseNode([x, factors], top, "product"))


@llvm.rule(Bias, unless=_not_along_channels)
def _bias(layer: Bias, graph: Graph, top: Value, x: Value, summands: Value) -> None:
    graph.add(PointwiseNode([x, summands], top, "sum"))


def _not_of_two(layer: Any, *shapes: Shape) -> str | None:
    if len(shapes) != 2:
        return "learned factors of any shape"
    large, small = sorted(shapes, key=math.prod, reverse=True)
    if len(large) != len(small):
        return "axes that are counted from the last one"
    return _not_for_rows(large, small)


@llvm.rule(Add, Mul, unless=_not_of_two)
def _broadcast(layer: Add | Mul, graph: Graph, top: Value, *xs: Value) -> None:
    large, small = sorted(xs, key=lambda x: math.prod(x.shape), reverse=True)
    name = "product" if isinstance(layer, Mul) else "sum"
    graph.add(PointwiseNode([large, small], top, name))


@llvm.rule(
    Axpy,
    unless=lambda layer, *shapes: _not_for_rows(shapes[1], shapes[0]),
)
def _axpy(layer: Axpy, graph: Graph, top: Value, factors: Value, x: Value, y: Value) -> None:
    product = top.alike(top.shape)
    graph.add(PointwiseNode([x, factors], product, "product"))
    graph.add(PointwiseNode([product, y], top, "sum"))
