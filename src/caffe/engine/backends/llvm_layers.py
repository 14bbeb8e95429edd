"""What layers with windows and weights are in kernels that LLVM compiles."""

from __future__ import annotations

import math
from dataclasses import replace

from ...compiled import depthwise, max_pooling
from ...compiled.convolving import Windows
from ...compiled.llvm import width, width_for
from ...compiled.normalizing import MOST_CHANNELS
from ...layers.axes import picture_size
from ...layers.convolution import Convolution, ConvolutionDepthwise, PaddedConvolution
from ...layers.inner_product import InnerProduct
from ...layers.lrn import LRN
from ...layers.normalization import Normalize
from ...layers.pooling import AVE, MAX, STOCHASTIC, Pooling
from ...memory.blob import Shape
from .llvm_nodes import (
    ConvolutionNode,
    InnerProductNode,
    LengthNode,
    NormalizingNode,
    PointwiseNode,
    PoolingNode,
)
from .llvm_places import CopyNode
from .llvm_rules import MOST_GROUPS, Graph, in_any_order, llvm, no_vectors
from .llvm_values import Value

MOST_WIDE_GROUPS = 64
"""How many there may be where a group's results fill a vector."""


def _not_plain(layer: Convolution, *shapes: Shape) -> str | None:
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return "several bottoms, or none of four axes"
    if len(layer.kernel) != 2 or layer.channel_axis != 1:
        return "no two axes behind channels on axis 1"
    group, outputs = layer.param.group, layer.param.num_output
    together = layer.channels // group
    if group > 1 and depthwise.takes(layer.channels, outputs, together):
        is_large = layer.kernel[0] * layer.kernel[1] > depthwise.MOST_PIXELS
        return "large kernels for each channel" if is_large else None
    most = MOST_WIDE_GROUPS if outputs // group >= width() else MOST_GROUPS
    return None if group <= most else "many groups of channels"


@llvm.rule(Convolution, PaddedConvolution, ConvolutionDepthwise, unless=_not_plain)
def _convolution(layer: Convolution, graph: Graph, top: Value, x: Value) -> None:
    kernel, stride, pad, dilation = (
        (down, across) for down, across in (layer.kernel, layer.stride, layer.pad, layer.dilation)
    )
    if isinstance(layer, PaddedConvolution) and layer.is_lopsided:
        # How much there is below and to the right, the number of results tells.
        left, _, above, _ = layer.sides(x.size)
        pad = above, left
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
    if layer.param.pool == MAX and max(windows.kernel) > max_pooling.MOST_PIXELS:
        return "large windows"
    return None


@llvm.rule(Pooling, unless=_not_pooled)
def _pooling(layer: Pooling, graph: Graph, top: Value, x: Value) -> None:
    found = layer.windows(*x.size)
    windows = Windows(found.kernel, found.stride, found.pad, (1, 1), top.size)
    shares = None
    if layer.param.pool != MAX:
        shares = 1 / found.counts(*x.size, padding_counts=layer.param.pool == AVE).double()
    elif math.prod(found.kernel) > max_pooling.MOST_PIXELS:
        # Each window's lines first, and then the lines' maxima.
        lines = x.alike((*x.shape[:3], top.shape[3]))
        down, across = (
            replace(
                windows,
                kernel=_along(axis, found.kernel, 1),
                stride=_along(axis, found.stride, 1),
                pad=_along(axis, found.pad, 0),
                results=one.size,
            )
            for axis, one in ((0, top), (1, lines))
        )
        graph.add(PoolingNode(x, lines, across, None))
        x, windows = lines, down
    graph.add(PoolingNode(x, top, windows, shares))


def _along(axis: int, pair: tuple[int, int], other: int) -> tuple[int, int]:
    """A pair of which one is another number, but for the axis."""
    return (pair[0], other) if axis == 0 else (other, pair[1])


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


def _has_no_lengths(layer: Normalize, shape: Shape) -> str | None:
    is_known = len(shape) in (2, 4)
    return None if is_known else "channels that are neither the last axis nor those of pictures"


@llvm.rule(Normalize, unless=_has_no_lengths)
def _normalized(layer: Normalize, graph: Graph, top: Value, x: Value) -> None:
    factors = graph.parameters(layer)[0].reshape(-1).expand(x.channels)
    if not layer.param.across_spatial:
        graph.add(LengthNode(x, top, layer.param.eps, factors))
        return
    x = graph.rows(x)
    if not x.is_dense:
        dense = x.alike(x.shape)
        graph.add(CopyNode([x], dense))
        x = dense
    # In which order a picture's numbers lie makes no difference.
    whole = x.seen_as((x.shape[0], math.prod(x.shape[1:])))
    made, same = whole.alike(whole.shape), x.alike(x.shape)
    graph.add(LengthNode(whole, made, layer.param.eps, factors.new_ones(whole.channels)))
    same.see(made)
    graph.add(PointwiseNode([same], top, "", factors))
