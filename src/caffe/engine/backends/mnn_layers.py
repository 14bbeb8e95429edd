"""What layers are in MNN's operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...layers.activation import ELU, BoundedReLU, Clip, ReLU, ReLU6, Sigmoid
from ...layers.axes import picture_size
from ...layers.convolution import Convolution, ConvolutionDepthwise, PaddedConvolution
from ...layers.eltwise import Eltwise
from ...layers.inner_product import InnerProduct
from ...layers.layer import Activation, Layer
from ...layers.lrn import LRN
from ...layers.permute import Permute
from ...layers.pooling import Pooling
from ...layers.rules import Rules
from ...layers.shape import Concat, Slice
from ...layers.softmax import Softmax
from ...layers.translation import openvino
from ...memory.blob import Shape
from ...proto.caffe_pb2 import EltwiseParameter, PoolingParameter
from .mnn_model import Byte, Table, Value, numbers


class Graph(Protocol):
    """MNN's operators of some layers, as far as the rules need it."""

    def add(self, kind: str, inputs: Sequence[Value], shape: Shape, main: Table | None) -> Value:
        """Add an operator with one output."""
        ...

    def parted(self, kind: str, x: Value, shapes: Sequence[Shape], main: Table) -> list[Value]:
        """Add an operator with several outputs."""
        ...

    def convolution(
        self, x: Value, shape: Shape, weights: Sequence[NDArray[Any]], **how: Any
    ) -> Value:
        """Add a convolution; what is not said of how is plain."""
        ...

    def shaped(self, x: Value, shape: Shape) -> Value:
        """Return a value in another shape."""
        ...

    def parameters(self, layer: Layer) -> list[NDArray[Any]]:
        """Return a layer's parameters."""
        ...


Rule = Callable[..., "Value | list[Value]"]

mnn: Rules[Rule] = Rules("form for MNN")
"""What a layer is in MNN; a rule is given the layer, the graph and the bottoms' values."""


def _not_plain(layer: Convolution, *shapes: Shape) -> str | None:
    refusal = openvino.refusal(layer, *shapes)
    if refusal is None and isinstance(layer, PaddedConvolution) and layer.is_lopsided:
        return "padding of its own for each side"
    return refusal


@mnn.rule(Convolution, PaddedConvolution, ConvolutionDepthwise, unless=_not_plain)
def _convolution(layer: Convolution, graph: Graph, x: Value) -> Value:
    (top,) = layer.top_shapes(x.shape)
    sides = dict.fromkeys("XY")
    return graph.convolution(
        x,
        top,
        graph.parameters(layer),
        group=layer.param.group,
        **{
            f"{name}{side}": values[1 if side == "X" else 0]
            for side in sides
            for name, values in {
                "kernel": layer.kernel,
                "stride": layer.stride,
                "dilate": layer.dilation,
                "pad": layer.pad,
            }.items()
        },
    )


@mnn.rule(
    InnerProduct,
    unless=lambda layer, *_: "its weights are transposed" if layer.param.transpose else None,
)
def _inner_product(layer: Any, graph: Graph, x: Value) -> Value:
    """A convolution of one place."""
    rows = math.prod(x.shape) // layer.inputs
    weight, *bias = graph.parameters(layer)
    (top,) = layer.top_shapes(x.shape)
    column = graph.shaped(x, (rows, layer.inputs, 1, 1))
    y = graph.convolution(column, (rows, len(weight), 1, 1), [weight, *bias])
    return graph.shaped(y, top)


def _not_pooled(layer: Pooling, shape: Shape) -> str | None:
    refusal = openvino.refusal(layer, shape)
    if refusal is not None:
        return refusal
    height, width = size = picture_size(shape)
    windows = layer.windows(height, width)
    sizes = tuple(
        (math.floor if windows.floor else math.ceil)((n + 2 * p - k) / s) + 1
        for n, k, s, p in zip(size, windows.kernel, windows.stride, windows.pad, strict=True)
    )
    if sizes != layer.top_shapes(shape)[0][2:]:
        return "a last window is left out"
    counts = windows.counts(height, width, padding_counts=False)
    is_whole = bool((counts == math.prod(windows.kernel)).all())
    if layer.param.pool != PoolingParameter.MAX and not is_whole:
        return "means of windows in the padding"
    return None


@mnn.rule(Pooling, unless=_not_pooled)
def _pooling(layer: Pooling, graph: Graph, x: Value) -> Value:
    (top,) = layer.top_shapes(x.shape)
    windows = layer.windows(*x.shape[2:])
    main = Table(
        "Pool",
        kernelX=windows.kernel[1],
        kernelY=windows.kernel[0],
        strideX=windows.stride[1],
        strideY=windows.stride[0],
        padX=windows.pad[1],
        padY=windows.pad[0],
        type=Byte(layer.param.pool != PoolingParameter.MAX),
        padType=Byte(0),
        ceilModel=not windows.floor,
    )
    return graph.add("Pooling", [x], top, main)


def _not_across(layer: LRN, shape: Shape) -> str | None:
    if layer.param.local_size % 2 == 0:
        return "an even local_size"
    return openvino.refusal(layer, shape)


@mnn.rule(LRN, unless=_not_across)
def _lrn(layer: LRN, graph: Graph, x: Value) -> Value:
    param = layer.param
    main = Table(
        "LRN", localSize=param.local_size, alpha=param.alpha, beta=param.beta, bias=param.k
    )
    return graph.add("LRN", [x], x.shape, main)


@mnn.rule(
    ReLU,
    BoundedReLU,
    ReLU6,
    Clip,
    unless=lambda layer, *_: None if layer.activation else "another order of slope and bounds",
)
def _activated(layer: Any, graph: Graph, x: Value) -> Value:
    return activated(layer.activation, graph, x)


def activated(activation: Activation, graph: Graph, x: Value) -> Value:
    """Add an activation."""
    slope, least, most = activation.slope, activation.least, activation.most
    if slope != 1:
        x = graph.add("ReLU", [x], x.shape, Table("Relu", slope=float(slope)))
    if least > -math.inf or most < math.inf:
        bounds = np.clip([least, most], *np.finfo(np.float32).max * np.array([-1.0, 1.0]))
        main = Table("Relu6", minValue=float(bounds[0]), maxValue=float(bounds[1]))
        x = graph.add("ReLU6", [x], x.shape, main)
    return x


@mnn.rule(ELU)
def _elu(layer: ELU, graph: Graph, x: Value) -> Value:
    return graph.add("ELU", [x], x.shape, Table("ELU", alpha=layer.param.alpha))


@mnn.rule(Sigmoid)
def _sigmoid(layer: Sigmoid, graph: Graph, x: Value) -> Value:
    return graph.add("Sigmoid", [x], x.shape, None)


def _not_two(layer: Eltwise, *shapes: Shape) -> str | None:
    if len(shapes) < 2:
        return "one bottom"
    return "factors" if any(c != 1 for c in layer.param.coeff) else None


@mnn.rule(Eltwise, unless=_not_two)
def _eltwise(layer: Eltwise, graph: Graph, *xs: Value) -> Value:
    kind = {
        EltwiseParameter.PROD: 0,
        EltwiseParameter.SUM: 1,
        EltwiseParameter.MAX: 2,
    }[layer.param.operation]
    return graph.add("Eltwise", xs, xs[0].shape, Table("Eltwise", type=Byte(kind)))


@mnn.rule(Concat)
def _concat(layer: Concat, graph: Graph, *xs: Value) -> Value:
    if len(xs) == 1:
        return xs[0]
    (top,) = layer.top_shapes(*(x.shape for x in xs))
    return graph.add("Concat", xs, top, Table("Axis", axis=layer.along(xs[0].shape)))


@mnn.rule(Slice)
def _slice(layer: Slice, graph: Graph, x: Value) -> list[Value]:
    axis, tops = layer.along(x.shape), layer.top_shapes(x.shape)
    points = np.cumsum([top[axis] for top in tops])[:-1]
    main = Table("Slice", axis=axis, slicePoints=numbers(points.tolist()), sourceType=Byte(0))
    return [x] if len(tops) == 1 else graph.parted("Slice", x, tops, main)


@mnn.rule(Softmax)
def _softmax(layer: Softmax, graph: Graph, x: Value) -> Value:
    axis = layer.axis(layer.param.axis, x.shape)
    return graph.add("Softmax", [x], x.shape, Table("Axis", axis=axis))


@mnn.rule(Permute)
def _permute(layer: Permute, graph: Graph, x: Value) -> Value:
    (top,) = layer.top_shapes(x.shape)
    return graph.add("Permute", [x], top, Table("Permute", dims=numbers(layer.order)))
