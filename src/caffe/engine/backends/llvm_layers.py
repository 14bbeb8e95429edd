"""What layers are in kernels that LLVM compiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from ...compiled import depthwise, max_pooling
from ...compiled.convolving import Windows
from ...compiled.llvm import width_for
from ...compiled.normalizing import MOST_CHANNELS
from ...layers.activation import BoundedReLU, Clip, PReLU, ReLU, ReLU6
from ...layers.axes import picture_size
from ...layers.convolution import Convolution, ConvolutionDepthwise, PaddedConvolution
from ...layers.eltwise import Eltwise
from ...layers.inner_product import InnerProduct
from ...layers.layer import Layer
from ...layers.lrn import LRN
from ...layers.pooling import AVE, MAX, STOCHASTIC, Pooling
from ...layers.rules import Rules
from ...layers.shape import Concat
from ...layers.softmax import Softmax
from ...memory.blob import Shape
from ...proto.caffe_pb2 import EltwiseParameter
from .llvm_nodes import (
    ConcatNode,
    ConvolutionNode,
    InnerProductNode,
    Linear,
    Node,
    NormalizingNode,
    PointwiseNode,
    PoolingNode,
    SoftmaxNode,
    Tiles,
)
from .llvm_values import Value

MOST_GROUPS = 8
"""How many groups of channels a convolution may have: each is a product by itself."""

SHORT = frozenset(
    (
        *(Convolution, PaddedConvolution, ConvolutionDepthwise, InnerProduct, Pooling, LRN),
        *(ReLU, BoundedReLU, ReLU6, Clip, PReLU, Eltwise, Concat, Softmax),
    )
)
"""The layers whose kernels know short numbers."""


class Graph(Protocol):
    """The values and nodes of some layers, as far as the rules need it."""

    tiles: Tiles

    def parameters(self, layer: Layer) -> list[Any]:
        """Return a layer's parameters."""
        ...

    def add(self, node: Node) -> None:
        """Add a node behind all others."""
        ...

    def moves_last(self, node: Node) -> None:
        """Put a node behind all others."""
        ...

    def shaped(self, x: Value, shape: Shape) -> Value:
        """Return a value in another shape."""
        ...


Rule = Callable[..., None]

llvm: Rules[Rule] = Rules("form for LLVM")
"""How a layer is computed; a rule is given the layer, the graph, the top and the bottoms."""


def _no_vectors(channels: int) -> str | None:
    return None if width_for(channels) else "channels that are no multiple of four"


def _not_plain(layer: Convolution, *shapes: Shape) -> str | None:
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return "several bottoms, or none of four axes"
    if len(layer.kernel) != 2 or layer.channel_axis != 1:
        return "no two axes behind channels on axis 1"
    if isinstance(layer, PaddedConvolution) and layer.is_lopsided:
        return "padding of its own for each side"
    group, outputs = layer.param.group, layer.param.num_output
    if 1 < group == layer.channels == outputs:
        if layer.kernel[0] * layer.kernel[1] > depthwise.MOST_PIXELS:
            return "large kernels for each channel"
        return _no_vectors(outputs)
    return None if group <= MOST_GROUPS else "many groups of channels"


@llvm.rule(Convolution, PaddedConvolution, ConvolutionDepthwise, unless=_not_plain)
def _convolution(layer: Convolution, graph: Graph, top: Value, x: Value) -> None:
    kernel, stride, pad, dilation = (
        (down, across) for down, across in (layer.kernel, layer.stride, layer.pad, layer.dilation)
    )
    windows = Windows(kernel, stride, pad, dilation, top.size)
    weight, *biases = graph.parameters(layer)
    bias = biases[0] if biases else None
    graph.add(ConvolutionNode(x, top, weight, bias, windows, layer.param.group, graph.tiles))


def _not_of_rows(layer: Any, shape: Shape) -> str | None:
    if layer.param.transpose:
        return "its weights are transposed"
    axis = layer.axis(layer.param.axis, shape)
    return None if axis == 1 and len(shape) in (2, 4) else "an axis other than the channels'"


@llvm.rule(InnerProduct, unless=_not_of_rows)
def _inner_product(layer: Any, graph: Graph, top: Value, x: Value) -> None:
    weight, *biases = graph.parameters(layer)
    row = graph.shaped(x, (x.shape[0], layer.inputs))
    graph.add(InnerProductNode(row, top, weight, biases[0] if biases else None))


def _not_pooled(layer: Pooling, shape: Shape) -> str | None:
    if layer.param.pool == STOCHASTIC or len(layer.layer_param.top) != 1:
        return "STOCHASTIC, or a second top"
    height, width = picture_size(shape)
    windows = layer.windows(height, width)
    if not bool((windows.counts(height, width, padding_counts=False) > 0).all()):
        return "windows in the padding"
    if layer.param.pool == MAX and windows.kernel[0] * windows.kernel[1] > max_pooling.MOST_PIXELS:
        return "large windows"
    return _no_vectors(shape[1])


@llvm.rule(Pooling, unless=_not_pooled)
def _pooling(layer: Pooling, graph: Graph, top: Value, x: Value) -> None:
    found = layer.windows(*x.size)
    windows = Windows(found.kernel, found.stride, found.pad, (1, 1), top.size)
    shares = None
    if layer.param.pool != MAX:
        shares = 1 / found.counts(*x.size, padding_counts=layer.param.pool == AVE).double()
    graph.add(PoolingNode(x, top, windows, shares))


def _not_across(layer: LRN, shape: Shape) -> str | None:
    if not layer.is_across or layer.param.beta != 0.75:
        return "within channels, or of another power"
    if shape[1] > MOST_CHANNELS:
        return "many channels"
    vectors = width_for(shape[1])
    if vectors and layer.param.local_size > 2 * vectors:
        return "sums of many channels"
    return _no_vectors(shape[1])


@llvm.rule(LRN, unless=_not_across)
def _lrn(layer: LRN, graph: Graph, top: Value, x: Value) -> None:
    param = layer.param
    graph.add(NormalizingNode(x, top, param.local_size, param.alpha, param.k))


def _not_by_numbers(layer: Any, shape: Shape) -> str | None:
    if layer.activation is None:
        return "another order of slope and bounds"
    return _no_vectors(shape[1])


@llvm.rule(ReLU, BoundedReLU, ReLU6, Clip, unless=_not_by_numbers)
def _activated(layer: Any, graph: Graph, top: Value, x: Value) -> None:
    activation = layer.activation
    node = x.maker
    if node is None or not node.is_plain_but_for_sums or not x.is_passed_on:
        node = PointwiseNode([x], top)
        graph.add(node)
    node.finish = replace(
        node.finish, slope=activation.slope, least=activation.least, most=activation.most
    )
    node.make(top)


@llvm.rule(PReLU, unless=lambda layer, shape: _no_vectors(shape[1]))
def _prelu(layer: PReLU, graph: Graph, top: Value, x: Value) -> None:
    (slopes,) = graph.parameters(layer)
    graph.add(PointwiseNode([x], top, slopes=slopes.view(-1)))


def _not_of_two(layer: Eltwise, *shapes: Shape) -> str | None:
    if len(shapes) != 2 or any(c != 1 for c in layer.param.coeff):
        return "factors, or not two bottoms"
    return _no_vectors(shapes[0][1])


@llvm.rule(Eltwise, unless=_not_of_two)
def _eltwise(layer: Eltwise, graph: Graph, top: Value, *xs: Value) -> None:
    operation = layer.param.operation
    if operation == EltwiseParameter.SUM:
        for x, other in (xs, xs[::-1]):
            node = x.maker
            if (
                isinstance(node, Linear)
                and node.is_plain
                and not _is_depthwise(node)
                and x.is_passed_on
            ):
                node.add(other, top)
                graph.moves_last(node)
                return
    names = {
        EltwiseParameter.SUM: "sum",
        EltwiseParameter.PROD: "product",
        EltwiseParameter.MAX: "most",
    }
    graph.add(PointwiseNode(xs, top, names[operation]))


def _is_depthwise(node: Node) -> bool:
    return isinstance(node, ConvolutionNode) and node.is_depthwise


def _not_of_channels(layer: Concat, *shapes: Shape) -> str | None:
    if layer.along(shapes[0]) != 1:
        return "along another axis than the channels'"
    return next((why for shape in shapes if (why := _no_vectors(shape[1]))), None)


@llvm.rule(Concat, unless=_not_of_channels)
def _concat(layer: Concat, graph: Graph, top: Value, *xs: Value) -> None:
    graph.add(ConcatNode(xs, top))


@llvm.rule(
    Softmax,
    unless=lambda layer, shape: (
        None if layer.axis(layer.param.axis, shape) == 1 else "an axis other than the channels'"
    ),
)
def _softmax(layer: Softmax, graph: Graph, top: Value, x: Value) -> None:
    graph.add(SoftmaxNode([x], top))
