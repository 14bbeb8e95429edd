"""Convolutions, over one to three axes, their gradient as a layer, and their windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...layers.convolution import (
    Convolution,
    ConvolutionDepthwise,
    Deconvolution,
    Kernels,
    PaddedConvolution,
)
from ...layers.local import Local
from ...layers.volumes import Convolution3D, Deconvolution3D
from ...layers.windows import Im2col, Windowed
from ...memory.blob import Shape
from ..onnx_graph import OnnxGraph, Value, onnx

MOST_AXES = 3


def _too_many_axes(layer: Windowed, *bottoms: Shape) -> str | None:
    if not 1 <= len(layer.kernel) <= MOST_AXES:
        return f"runtimes convolve over 1 to {MOST_AXES} axes, not over {len(layer.kernel)}"
    return None


def _batched(layer: Windowed, graph: OnnxGraph, x: Value) -> Value:
    """Fold the axes before the channels into one."""
    if layer.channel_axis == 1:
        return x
    shape, axis = graph.shape(x), layer.channel_axis
    return graph.reshaped(x, (math.prod(shape[:axis]), *shape[axis:]))


def _unbatched(layer: Windowed, graph: OnnxGraph, y: Value, top: Shape) -> Value:
    return y if layer.channel_axis == 1 else graph.reshaped(y, top)


def _pads(layer: Windowed, spatial: Shape) -> list[int]:
    """The padding before each axis, then that behind each, so that Caffe's windows are there."""
    before = list(layer.pad)
    behind = list(layer.pad)
    if isinstance(layer, PaddedConvolution) and not any(layer.pad) and len(layer.kernel) == 2:
        left, right, top, bottom = layer.sides(spatial)
        before, behind = [top, left], [bottom, right]
    for i, (size, extent) in enumerate(zip(spatial, layer.extent, strict=True)):
        # Rounded towards zero, there is a first window even where it reaches past the end.
        behind[i] += max(0, extent - size - before[i] - behind[i])
    return before + behind


def _convolve(
    layer: Windowed, graph: OnnxGraph, xs: Sequence[Value], weights: list[Value], group: int
) -> list[Value]:
    shapes = [graph.shape(x) for x in xs]
    tops = layer.top_shapes(*shapes)
    found = []
    for x, shape, top in zip(xs, shapes, tops, strict=False):
        y = graph.op(
            "Conv",
            _batched(layer, graph, x),
            *weights,
            kernel_shape=list(layer.kernel),
            strides=list(layer.stride),
            pads=_pads(layer, shape[layer.channel_axis + 1 :]),
            dilations=list(layer.dilation),
            group=group,
        )
        found.append(_unbatched(layer, graph, y, top))
    return found


def _weights(graph: OnnxGraph) -> list[Value]:
    return [graph.parameter(i) for i in range(graph.count_parameters())]


@onnx.rule(
    Convolution, PaddedConvolution, ConvolutionDepthwise, Convolution3D, unless=_too_many_axes
)
def _convolution(layer: Convolution, graph: OnnxGraph, *xs: Value) -> list[Value]:
    return _convolve(layer, graph, xs, _weights(graph), layer.param.group)


@onnx.rule(Deconvolution, Deconvolution3D, unless=_too_many_axes)
def _deconvolution(layer: Kernels, graph: OnnxGraph, *xs: Value) -> list[Value]:
    weights = _weights(graph)
    tops = layer.top_shapes(*(graph.shape(x) for x in xs))
    found = []
    for x, top in zip(xs, tops, strict=True):
        y = graph.op(
            "ConvTranspose",
            _batched(layer, graph, x),
            *weights,
            kernel_shape=list(layer.kernel),
            strides=list(layer.stride),
            pads=list(layer.pad) * 2,
            dilations=list(layer.dilation),
            group=layer.param.group,
        )
        found.append(_unbatched(layer, graph, y, top))
    return found


def _taps(channels: int, kernel: Sequence[int]) -> np.ndarray:
    """Kernels that each see one tap of their own channel: what they give are the windows."""
    count = math.prod(kernel)
    each = np.eye(count, dtype=np.float32).reshape(count, 1, *kernel)
    return np.tile(each, (channels, *[1] * (each.ndim - 1)))


@onnx.rule(Im2col, unless=_too_many_axes)
def _im2col(layer: Im2col, graph: OnnxGraph, x: Value) -> list[Value]:
    taps = graph.constant(_taps(layer.channels, layer.kernel))
    return _convolve(layer, graph, [x], [taps], layer.channels)


@onnx.rule(Local)
def _local(layer: Local, graph: OnnxGraph, x: Value) -> Value:
    size, channels = layer.param.kernel_size, graph.shape(x)[1]
    windows = graph.op(
        "Conv",
        x,
        graph.constant(_taps(channels, (size, size))),
        kernel_shape=[size, size],
        strides=[layer.param.stride] * 2,
        pads=[layer.param.pad] * 4,
        group=channels,
    )
    (top,) = layer.top_shapes(graph.shape(x))
    places = top[2] * top[3]
    columns = graph.reshaped(windows, (top[0], channels * size * size, places))
    kernels = graph.parameter(0, graph.arrays()[0].numpy()[:, 0])
    y = graph.op("Einsum", columns, kernels, equation="ntp,otp->nop")
    if layer.param.bias_term:
        y = graph.op("Add", y, graph.parameter(1, graph.arrays()[1].numpy()[0]))
    return graph.reshaped(y, top)
