"""Pooling, its windows and divisors exactly the node's.

Caffe rounds the number of windows up and drops one that would begin behind the padding. Where that
is not what the node has, the target's own field for rounding down is used, or what is over is cut
off.
"""

from __future__ import annotations

import math

import numpy as np

from ...errors import NetError
from ...layers.pooling import Windows
from ..caffe_graph import CaffeGraph, Node, Value, onnx
from .arithmetic import places_scaled
from .convolution import pads_of
from .shape import cut, padded


@onnx("GlobalAveragePool")
def global_average(graph: CaffeGraph, node: Node) -> Value:
    return whole(graph, node.value(0), "AVE")


@onnx("GlobalMaxPool")
def global_largest(graph: CaffeGraph, node: Node) -> Value:
    return whole(graph, node.value(0), "MAX")


def whole(graph: CaffeGraph, x: Value, kind: str) -> Value:
    """Return one number for each map of a value (N, C, ...), its axes kept with length 1."""
    rank = len(x.shape)
    if rank != 4:
        shape = (*x.shape[:2], *[1] * (rank - 2))
        x = graph.reshaped(x, [*x.shape[:2], math.prod(x.shape[2:]), 1])
        return graph.reshaped(whole(graph, x, kind), shape)
    return graph.layer("Pooling", x, pooling_param=_method(kind) | {"global_pooling": True})


def _method(kind: str) -> dict[str, object]:
    return {"pool": 0 if kind == "MAX" else 1}


@onnx("MaxPool", "AveragePool")
def pooling(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    rank = len(x.shape)
    kernel = list(node.need("kernel_shape"))
    strides = list(node.get("strides", [1] * len(kernel)))
    if any(d != 1 for d in node.get("dilations", [])):
        raise NetError("Caffe's Pooling has no dilation; a larger kernel, or a stride, would do")
    if sum(node.wanted) > 1:
        raise NetError("the places of the largest values are no output of Caffe's in this form")
    sides = pads_of(node, x.shape[2:], kernel)
    rounds_up = bool(node.get("ceil_mode", 0)) and node.get("auto_pad", "NOTSET") == "NOTSET"
    counted = None if node.kind == "MaxPool" else bool(node.get("count_include_pad", 0))
    # Over two axes at once at the most; what is over three is so over two, and then over one.
    groups: dict[int, list[tuple[int, ...]]] = {3: [(2,)], 4: [(2, 3)], 5: [(3, 4), (2,)]}
    if rank not in groups:
        raise NetError(f"pooling over {rank - 2} axes has no layer in Caffe")
    for axes in groups[rank]:
        own = [(kernel[a - 2], strides[a - 2], sides[a - 2]) for a in axes]
        if rank == 5 and all(one == (1, 1, (0, 0)) for one in own):
            continue
        x = _over(graph, x, axes, own, rounds_up, counted)
    return x


Window = tuple[int, int, tuple[int, int]]
"""Along an axis: its length, its step, and the padding before and behind."""


def _over(
    graph: CaffeGraph,
    x: Value,
    axes: tuple[int, ...],
    windows: list[Window],
    rounds_up: bool,
    counted: bool | None,
) -> Value:
    """Pool over one axis or two of a value, which stand as a picture's height and width."""
    shape, first = list(x.shape), axes[0]
    size = [shape[axis] for axis in axes]
    if len(axes) == 1:
        size.append(math.prod(shape[first + 1 :]))
        windows = [*windows, (1, 1, (0, 0))]
    x = graph.reshaped(x, [shape[0], math.prod(shape[1:first]), *size])
    kernel, strides, sides = map(list, zip(*windows, strict=True))
    counts = [_count(n, *window, rounds_up) for n, window in zip(size, windows, strict=True)]
    y = _windows(graph, x, kernel, strides, sides, counts, counted)
    for axis, count in zip(axes, counts, strict=False):
        shape[axis] = count
    return graph.reshaped(y, shape)


def _count(n: int, kernel: int, stride: int, sides: tuple[int, int], up: bool) -> int:
    """How many windows the node has along an axis."""
    before, behind = sides
    room = n + before + behind - kernel
    count = (-(-room // stride) if up else room // stride) + 1
    if up and (count - 1) * stride >= n + before:
        count -= 1
    return count


def _windows(
    graph: CaffeGraph,
    x: Value,
    kernel: list[int],
    strides: list[int],
    sides: list[tuple[int, int]],
    counts: list[int],
    counted: bool | None,
) -> Value:
    """The largest values of windows, or their means; `counted`: whether padding counts in these."""
    size = x.shape[2:]
    method = "MAX" if counted is None else "AVE"
    pads = [before for before, _ in sides]
    hangs_over = any(
        (count - 1) * s + k > n + 2 * p
        for n, k, s, p, count in zip(size, kernel, strides, pads, counts, strict=True)
    )
    y = None
    clips = counted is None or graph.target.clips_means or not hangs_over
    is_whole = tuple(size) == tuple(kernel) and any(pads)
    if clips and (graph.target.pads_wholes or not is_whole):
        y = _pooled(graph, x, method, kernel, strides, pads, counts)
    if y is None:
        # What repeats the border changes no window's largest value that has the border anyway.
        more = [
            (p, max(0, (count - 1) * s + k - p - n))
            for n, k, s, p, count in zip(size, kernel, strides, pads, counts, strict=True)
        ]
        mode = "edge" if counted is None else "constant"
        x, pads = padded(graph, x, dict(enumerate(more, 2)), mode), [0, 0]
        y = _pooled(graph, x, method, kernel, strides, pads, counts)
        assert y is not None
    if counted is None:
        return y
    factors = np.ones(())
    for wide, pad, n, k, s, (before, behind), count in zip(
        x.shape[2:], pads, size, kernel, strides, sides, counts, strict=True
    ):
        start = np.arange(count) * s
        # What Caffe divided by, and what the node divides by.
        theirs = np.minimum(start - pad + k, wide + pad) - (start - pad)
        real = start - before
        if counted:
            ours = np.minimum(real + k, n + behind) - real
        else:
            ours = np.minimum(real + k, n) - np.maximum(real, 0)
        factors = np.multiply.outer(factors, theirs / ours)
    return y if np.all(factors == 1) else places_scaled(graph, y, factors)


def _pooled(
    graph: CaffeGraph,
    x: Value,
    method: str,
    kernel: list[int],
    strides: list[int],
    pads: list[int],
    counts: list[int],
) -> Value | None:
    """Pooling with these numbers of windows, or None where Caffe would have fewer."""
    size = x.shape[2:]
    if any(p >= k for p, k in zip(pads, kernel, strict=True)):
        return None
    if tuple(size) == tuple(kernel) and not any(pads) and counts == [1, 1]:
        return graph.layer("Pooling", x, pooling_param=_method(method) | {"global_pooling": True})
    settings = _method(method)
    for name, values, default in (("kernel_size", kernel, 0), ("stride", strides, 1)):
        _say(settings, name, values, default)
    _say(settings, "pad", pads, 0)

    def found(floor: bool) -> list[int]:
        kh, kw = kernel
        sh, sw = strides
        windows = Windows((kh, kw), (sh, sw), (pads[0], pads[1]), floor)
        return list(windows.out_sizes(size[0], size[1]))

    if found(False) == counts:
        return graph.layer("Pooling", x, pooling_param=settings)
    if graph.target.floor is not None and found(True) == counts:
        name, value = graph.target.floor
        return graph.layer("Pooling", x, pooling_param={**settings, name: value})
    more = found(False)
    if any(a < b for a, b in zip(more, counts, strict=True)):
        return None
    y = graph.layer("Pooling", x, pooling_param=settings)
    for axis, count in enumerate(counts, 2):
        y = cut(graph, y, axis, 0, count)
    return y


def _say(settings: dict[str, object], name: str, values: list[int], default: int) -> None:
    if values[0] == values[1]:
        if values[0] != default:
            settings[name] = values[0]
        return
    stem = name.removesuffix("_size")
    settings[f"{stem}_h"], settings[f"{stem}_w"] = values
