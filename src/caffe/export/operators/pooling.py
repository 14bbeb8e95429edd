"""Pooling: windows exactly where Caffe has them, and means by Caffe's own divisor.

ONNX's ceil_mode is never used: its windows at the far end are not Caffe's, and runtimes differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...layers.layer import as_tensors
from ...layers.pooling import (
    MAX,
    SMALLEST,
    SPP,
    STOCHASTIC,
    PaddedPooling,
    Pooling,
    Windows,
    average_pool,
)
from ...layers.volumes import Pooling3D
from ...memory.blob import Shape
from ...phases import TRAIN
from ...proto.caffe_pb2 import PoolingParameter, SPPParameter
from ...pytorch import torch
from ..onnx_graph import LOWEST, OnnxGraph, Value, onnx

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Places:
    """Where the windows lie over some axes."""

    size: Sequence[int]
    kernel: Sequence[int]
    stride: Sequence[int]
    before: Sequence[int]
    out: Sequence[int]

    @property
    def behind(self) -> list[int]:
        """The padding behind, which the last windows need; negative where they need less."""
        axes = zip(self.size, self.kernel, self.stride, self.before, self.out, strict=True)
        return [(out - 1) * s + k - p - n for n, k, s, p, out in axes]

    @property
    def has_empty(self) -> bool:
        """Whether a window may lie outside altogether, which operators of pooling refuse."""
        sides = zip(self.kernel, self.before, self.behind, strict=True)
        return any(max(before, behind) >= k for k, before, behind in sides)

    @property
    def is_everything(self) -> bool:
        """Whether there is one window, over everything."""
        return list(self.size) == list(self.kernel) and not any([*self.before, *self.behind])


def _pool(
    kind: str, graph: OnnxGraph, x: Value, places: Places, fill: float, outputs: int = 1
) -> list[Value]:
    attributes = {"count_include_pad": 1} if kind == "AveragePool" else {}
    pads = [*places.before, *(max(0, n) for n in places.behind)]
    if places.has_empty:
        sides = zip(places.before, places.behind, strict=True)
        x = graph.padded(x, [(0, 0), (0, 0), *sides], fill)
        pads = [0] * len(pads)
    return graph.many(
        kind,
        outputs,
        x,
        kernel_shape=list(places.kernel),
        strides=list(places.stride),
        pads=pads,
        **attributes,
    )


def largest(graph: OnnxGraph, x: Value, places: Places) -> Value:
    """Return each window's largest value."""
    if places.is_everything:
        return graph.op("GlobalMaxPool", x)
    return _pool("MaxPool", graph, x, places, LOWEST)[0]


def mean(graph: OnnxGraph, x: Value, places: Places, formula: Callable[[Tensor], Tensor]) -> Value:
    """Return each window's mean; `formula` is Caffe's, which is asked for its divisors."""
    if places.is_everything:
        return graph.op("GlobalAveragePool", x)
    (y,) = _pool("AveragePool", graph, x, places, 0)
    factor = _divisors(places, formula)
    return y if (factor == 1).all() else graph.op("Mul", y, graph.constant(factor))


def _divisors(places: Places, formula: Callable[[Tensor], Tensor]) -> np.ndarray:
    """What a window's sum by its whole size is multiplied by to be Caffe's mean."""
    ones = torch.ones(1, 1, *places.size, dtype=torch.float32)
    caffes = formula(ones).double().numpy()
    inside = np.ones(())
    axes = zip(places.size, places.kernel, places.stride, places.before, places.out, strict=True)
    for n, k, s, p, out in axes:
        start = np.arange(out) * s - p
        inside = np.multiply.outer(inside, np.clip(start + k, 0, n) - np.clip(start, 0, n))
    share = inside / math.prod(places.kernel)
    # Of a window without any places nothing is known, and it sums up to 0 whatever the factor.
    empty = (share == 0) & np.isfinite(caffes)
    factor = np.where(empty, 1, caffes / np.where(share == 0, 1, share))
    return factor.astype(np.float32)


def _places(layer: Pooling, shape: Shape) -> Places:
    (top, *_) = layer.top_shapes(shape)
    windows = layer.windows(*shape[2:])
    before = windows.pad
    if isinstance(layer, PaddedPooling):
        left, _, above, _ = layer._sides(*shape[2:])
        before = (above, left)
    return Places(shape[2:], windows.kernel, windows.stride, before, top[2:])


def _refused(layer: Pooling, shape: Shape) -> str | None:
    if layer.param.pool == STOCHASTIC and layer.phase == TRAIN:
        return "STOCHASTIC pooling draws at TRAIN; make the net for caffe.TEST"
    if len(layer.layer_param.top) > 1 and _places(layer, shape).has_empty:
        return "a second top, where a window may lie in the padding altogether"
    return None


@onnx.rule(Pooling, PaddedPooling, unless=_refused)
def _pooling(layer: Pooling, graph: OnnxGraph, x: Value) -> Value | list[Value]:
    shape = graph.shape(x)
    places = _places(layer, shape)
    if layer.param.pool == STOCHASTIC:
        return _stochastic(graph, x, places)
    if layer.param.pool != MAX:
        return mean(graph, x, places, lambda ones: as_tensors(layer.forward(ones))[0])
    if len(layer.layer_param.top) < 2:
        return largest(graph, x, places)
    values, index = _pool("MaxPool", graph, x, places, LOWEST, outputs=2)
    within = graph.op("Mod", index, graph.constant([math.prod(shape[2:])]))
    return [values, graph.floating(within)]


def _stochastic(graph: OnnxGraph, x: Value, places: Places) -> Value:
    """The mean of the values, each as probable as it is large."""
    squares, sums = (
        _pool("AveragePool", graph, value, places, 0)[0] for value in (graph.op("Mul", x, x), x)
    )
    return graph.op("Div", squares, graph.plus(sums, SMALLEST / math.prod(places.kernel)))


@onnx.rule(Pooling3D)
def _pooling3d(layer: Pooling3D, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    out = layer.top_shapes(shape)[0][2:]
    places = Places(shape[2:], layer._kernel, layer._stride, layer._pad, out)
    if layer.param.pool == PoolingParameter.MAX:
        return largest(graph, x, places)
    return mean(graph, x, places, layer.forward)


def _draws(layer: SPP, *shapes: Shape) -> str | None:
    if layer.param.pool == SPPParameter.STOCHASTIC and layer.phase == TRAIN:
        return "STOCHASTIC pooling draws at TRAIN; make the net for caffe.TEST"
    return None


@onnx.rule(SPP, unless=_draws)
def _pyramid(layer: SPP, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    pooled = []
    for level in layer._levels(*shape[2:]):
        pooled.append(_level(layer, graph, x, level, shape))
    if len(pooled) == 1:
        return pooled[0]
    rows = [graph.op("Flatten", y, axis=1) for y in pooled]
    return graph.op("Concat", *rows, axis=1)


def _level(layer: SPP, graph: OnnxGraph, x: Value, level: Windows, shape: Shape) -> Value:
    out = level.out_sizes(shape[2], shape[3])
    places = Places(shape[2:], level.kernel, level.stride, level.pad, out)
    if layer.param.pool == SPPParameter.MAX:
        return largest(graph, x, places)
    if layer.param.pool == SPPParameter.AVE:
        return mean(graph, x, places, lambda ones: average_pool(ones, level))
    return _stochastic(graph, x, places)
