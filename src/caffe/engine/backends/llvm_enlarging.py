"""What layers that make pictures of another size are in kernels that LLVM compiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...compiled.convolving import Windows
from ...compiled.deconvolving import MOST_PIXELS, DepthwiseDeconvolution, parted
from ...compiled.interpolating import Between, Interpolating
from ...compiled.llvm import Job
from ...compiled.memory import Memory
from ...layers.convolution import Deconvolution
from ...layers.resizing import Interp, ResizeBilinear, ResizeNearestNeighbor
from ...memory.blob import Shape
from .llvm_nodes import ConvolutionNode, Node
from .llvm_places import CopyNode, Views
from .llvm_rules import MOST_GROUPS, Graph, llvm
from .llvm_values import Value

if TYPE_CHECKING:
    from torch import Tensor

MOST_OUTPUTS = 2**15
"""How many results of all channels one pixel may be for, where they are computed together."""


class DeconvolutionNode(Node):
    """A Deconvolution of each channel by itself."""

    def __init__(
        self, x: Value, output: Value, weight: Tensor, bias: Tensor, windows: Windows
    ) -> None:
        super().__init__([x], output)
        self._weight, self._bias, self._windows = weight, bias, windows

    def jobs(self, memory: Memory) -> list[Job]:
        (x,), y = self.inputs, self.output
        deconvolution: DepthwiseDeconvolution = self.keep(
            DepthwiseDeconvolution(self._weight, self._bias, self._windows, self.short)
        )
        return [deconvolution.job(x.rows, x.size, y.shape[0], y.rows)]


def _not_enlarged(layer: Deconvolution, *shapes: Shape) -> str | None:
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return "several bottoms, or none of four axes"
    if len(layer.kernel) != 2 or layer.channel_axis != 1:
        return "no two axes behind channels on axis 1"
    if any(d > 1 for d in layer.dilation) or any(
        p >= k for p, k in zip(layer.pad, layer.kernel, strict=True)
    ):
        return "dilation, or more padding than the kernel has"
    group, outputs, stride = layer.param.group, layer.param.num_output, math.prod(layer.stride)
    taps = [math.ceil(k / s) for k, s in zip(layer.kernel, layer.stride, strict=True)]
    if 1 < group == layer.channels == outputs:
        is_large = math.prod(taps) > MOST_PIXELS
        return "large kernels for each channel" if is_large else None
    if outputs * stride > MOST_OUTPUTS:
        return "large strides of many channels"
    return None if group <= MOST_GROUPS else "many groups of channels"


@llvm.rule(Deconvolution, unless=_not_enlarged)
def _deconvolution(layer: Deconvolution, graph: Graph, top: Value, x: Value) -> None:
    kernel, stride, pad = (
        (down, across) for down, across in (layer.kernel, layer.stride, layer.pad)
    )  # fmt: skip
    weight, *biases = graph.parameters(layer)
    bias = biases[0] if biases else weight.new_zeros(top.channels)
    group = layer.param.group
    if 1 < group == x.channels == top.channels:
        windows = Windows(kernel, stride, pad, (1, 1), top.size)
        graph.add(DeconvolutionNode(x, top, weight, bias, windows))
        return
    # All results of a stride are made of the same pixels: they are a convolution's channels.
    by_result = parted(weight.unflatten(0, (group, -1)), stride).flip(3, 5)
    pixels = by_result.shape[3], by_result.shape[5]
    weights = by_result.permute(0, 4, 6, 2, 1, 3, 5).flatten(0, 3)
    biases_of_all = bias.view(group, 1, -1).expand(group, math.prod(stride), -1).flatten()
    # Where the pixels begin that have results which are not left out.
    first = [p // s for p, s in zip(pad, stride, strict=True)]
    ends = [(n + p - 1) // s + 1 for n, p, s in zip(top.size, pad, stride, strict=True)]
    before = [n - 1 - one for n, one in zip(pixels, first, strict=True)]
    size = [end - one for end, one in zip(ends, first, strict=True)]
    windows = Windows(pixels, (1, 1), (before[0], before[1]), (1, 1), (size[0], size[1]))
    made = top.alike((x.shape[0], len(weights), *size))
    graph.add(ConvolutionNode(x, made, weights, biases_of_all, windows, group, graph.tiles))
    offsets = [p % s for p, s in zip(pad, stride, strict=True)]
    views: list[Views] = [
        partial(_in_place, group=group, stride=stride, down=down, across=across)
        for down in _pieces(offsets[0], stride[0], top.size[0])
        for across in _pieces(offsets[1], stride[1], top.size[1])
    ]
    graph.add(CopyNode([made] * len(views), top, views))


Piece = tuple[int, int, int, int, int]
"""Results along an axis: of which pixels on, and of how many; which of each pixel's on, and how
many; and where they begin."""


def _pieces(offset: int, stride: int, count: int) -> list[Piece]:
    """Part results along an axis, the first `offset` left out, into whole pixels' and others'."""
    found: list[Piece] = []
    place = 0
    while place < count:
        pixel, first = divmod(place + offset, stride)
        whole = (count - place) // stride
        if first == 0 and whole:
            found.append((pixel, whole, 0, stride, place))
        else:
            found.append((pixel, 1, first, min(stride - first, count - place), place))
        place += found[-1][1] * found[-1][3]
    return found


def _in_place(
    x: Tensor, y: Tensor, group: int, stride: tuple[int, int], down: Piece, across: Piece
) -> tuple[Tensor, Tensor]:
    x = x.unflatten(1, (group, *stride, -1)).permute(0, 1, 4, 5, 2, 6, 3)
    y = y.unflatten(1, (group, -1))
    for axis, (pixel, pixels, first, count, place) in ((3, down), (5, across)):
        x = x.narrow(axis, pixel, pixels).narrow(axis + 1, first, count)
        y = y.narrow(axis, place, pixels * count).unflatten(axis, (pixels, count))
    return x, y


class InterpolationNode(Node):
    """Pictures of another size."""

    def __init__(self, x: Value, output: Value, down: Between, across: Between) -> None:
        super().__init__([x], output)
        self._between = down, across

    def jobs(self, memory: Memory) -> list[Job]:
        (x,), y = self.inputs, self.output
        between: Interpolating = self.keep(Interpolating(*self._between, y.channels, self.short))
        return [between.job(x.rows, x.size, y.shape[0], y.rows)]


@llvm.rule(
    Interp, unless=lambda _, shape, *others: None if len(shape) == 4 else "a bottom of fewer axes"
)
def _interpolated(layer: Interp, graph: Graph, top: Value, x: Value, *like: Value) -> None:
    """Corner on corner; the rows and columns that are left out lie before and behind."""
    before, behind = -layer.param.pad_beg, -layer.param.pad_end

    def between(old: int, new: int) -> Between:
        old -= before + behind
        step = np.float32(old - 1) / np.float32(max(1, new - 1))
        points = np.arange(new, dtype=np.float32) * step
        first = np.minimum(np.floor(points).astype(np.int64), old - 1)
        second = np.minimum(first + 1, old - 1)
        return Between(first + before, second + before, points - first.astype(np.float32))

    _resize(graph, top, x, between)


def _not_of_pictures(layer: ResizeBilinear | ResizeNearestNeighbor, *shapes: Shape) -> str | None:
    return None if layer.param.data_format == "NCHW" else "channels that are not on axis 1"


@llvm.rule(ResizeBilinear, ResizeNearestNeighbor, unless=_not_of_pictures)
def _resized(
    layer: ResizeBilinear | ResizeNearestNeighbor, graph: Graph, top: Value, x: Value
) -> None:
    def between(old: int, new: int) -> Between:
        return Between(*layer.between(old, new))

    _resize(graph, top, x, between)


def _resize(graph: Graph, top: Value, x: Value, between: Callable[[int, int], Between]) -> None:
    down, across = (between(old, new) for old, new in zip(x.size, top.size, strict=True))
    graph.add(InterpolationNode(x, top, down, across))
