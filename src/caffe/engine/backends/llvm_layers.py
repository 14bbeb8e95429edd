"""What layers with windows and weights are in kernels that LLVM compiles."""

from __future__ import annotations

import math

from ...compiled import depthwise, max_pooling
from ...compiled.convolving import Windows
from ...compiled.llvm import width_for
from ...compiled.normalizing import MOST_CHANNELS
from ...layers.axes import picture_size
from ...layers.convolution import Convolution, ConvolutionDepthwise, PaddedConvolution
from ...layers.inner_product import InnerProduct
from ...layers.lrn import LRN
from ...layers.pooling import AVE, MAX, STOCHASTIC, Pooling
from ...memory.blob import Shape
from .llvm_nodes import ConvolutionNode, InnerProductNode, NormalizingNode, PoolingNode
from .llvm_rules import Graph, in_any_order, llvm, no_vectors
from .llvm_values import Value

MOST_GROUPS = 8
"""How many groups of channels a convolution may have: each is a product by itself."""


def _not_plain(layer: Convolution, *shapes: Shape) -> str | None:
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return "several bottoms, or none of four axes"
    if len(layer.kernel) != 2 or layer.channel_axis != 1:
        return "no two axes behind channels on axis 1"
    if isinstance(layer, PaddedConvolution) and layer.is_lopsided:
        return "padding of its own for each side"
    group, outputs = layer.param.group, layer.param.num_output
    if 1 < group == layer.channels == outputs:
        is_large = layer.kernel[0] * layer.kernel[1] > depthwise.MOST_PIXELS
        return "large kernels for each channel" if is_large else None
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


@llvm.rule(InnerProduct)
@in_any_order
def _inner_product(layer: InnerProduct, graph: Graph, top: Value, x: Value) -> None:
    weight, *biases = graph.parameters(layer)
    if layer.param.transpose:
        weight = weight.t().contiguous()
    rows = graph.shaped(x, (math.prod(x.shape) // layer.inputs, layer.inputs))
    top.is_plain = True
    graph.add(InnerProductNode(rows, top, weight, biases[0] if biases else None))


def _not_pooled(layer: Pooling, shape: Shape) -> str | None:
    if layer.param.pool == STOCHASTIC or len(layer.layer_param.top) != 1:
        return "STOCHASTIC, or a second top"
    height, width = picture_size(shape)
    windows = layer.windows(height, width)
    if not bool((windows.counts(height, width, padding_counts=False) > 0).all()):
        return "windows in the padding"
    if layer.param.pool == MAX and windows.kernel[0] * windows.kernel[1] > max_pooling.MOST_PIXELS:
        return "large windows"
    return None


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
    return no_vectors(shape[1])


@llvm.rule(LRN, unless=_not_across)
def _lrn(layer: LRN, graph: Graph, top: Value, x: Value) -> None:
    param = layer.param
    graph.add(NormalizingNode(x, top, param.local_size, param.alpha, param.k))
