"""Other shapes of the same numbers, parts of them, and several joined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import NetError
from ..caffe_graph import Array, CaffeGraph, Node, Value, onnx
from .convolution import convolved
from .known import as_blob
from .product import check_length, matrix_applied


@onnx("Reshape")
def reshape(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    wanted = [int(n) for n in node.setting("shape", 1)]
    if not node.get("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    if -1 in wanted:
        known = math.prod(n for n in wanted if n != -1)
        wanted[wanted.index(-1)] = math.prod(x.shape) // max(known, 1)
    return graph.reshaped(x, wanted)


@onnx("Flatten")
def flatten(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    axis = node.axis(1)
    return graph.reshaped(x, [math.prod(x.shape[:axis]), math.prod(x.shape[axis:])])


@onnx("Squeeze")
def squeeze(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    rank = len(x.shape)
    axes = node.setting("axes", 1)
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axes is None else _list(axes)
    gone = {axis % rank for axis in axes}
    return graph.reshaped(x, [n for i, n in enumerate(x.shape) if i not in gone])


@onnx("Unsqueeze")
def unsqueeze(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    axes = _list(node.setting("axes", 1))
    rank = len(x.shape) + len(axes)
    new = {axis % rank for axis in axes}
    rest = iter(x.shape)
    return graph.reshaped(x, [1 if i in new else next(rest) for i in range(rank)])


def _list(axes: int | Sequence[int]) -> list[int]:
    return [axes] if isinstance(axes, int) else [int(axis) for axis in axes]


@onnx("Concat", any_order=True)
def concat(graph: CaffeGraph, node: Node) -> Value:
    values = [value for value in node.inputs if value is not None]
    axis = node.axis(1)
    like = next(value for value in values if not value.is_constant)
    values = [v if v.array is None else as_blob(graph, v.array, like) for v in values]
    if len({value.order for value in values}) > 1:
        values = [graph.plain(value) for value in values]
    return joined(graph, values, axis)


def joined(graph: CaffeGraph, values: Sequence[Value], axis: int) -> Value:
    """Return values of the same order of axes joined along one of them."""
    own = values[0].order[axis]
    blobs = [value.blob for value in values]
    rank = len(blobs[0].shape)
    if graph.target.joins_pictures and rank < 4:
        rest = [1] * (4 - rank)
        wide = [graph.reshaped(Value(blob), [*blob.shape, *rest]) for blob in blobs]
        whole = joined(graph, wide, own)
        return graph.alike(values[0], graph.reshaped(whole, whole.shape[:rank]))
    param = {} if own == 1 else {"axis": own}
    return graph.alike(values[0], graph.layer("Concat", *blobs, concat_param=param))


@onnx("Split", any_order=True)
def split(graph: CaffeGraph, node: Node) -> list[Value]:
    x = node.value(0)
    axis = node.axis(0)
    n = x.shape[axis]
    sizes = node.setting("split", 1)
    if sizes is None:
        count = node.outputs
        each = -(-n // count)
        sizes = [min(each, n - i * each) for i in range(count)]
    sizes = _list(sizes)
    if len(sizes) == 1:
        return [x]
    parts = _parts(graph, Value(x.blob), x.order[axis], np.cumsum(sizes)[:-1].tolist())
    return [graph.alike(x, part) for part in parts]


def _parts(graph: CaffeGraph, x: Value, axis: int, points: Sequence[int]) -> list[Value]:
    settings: dict[str, object] = {} if axis == 1 else {"axis": axis}
    settings["slice_point"] = [int(point) for point in points]
    return graph.many("Slice", len(points) + 1, x, slice_param=settings)


@onnx("Slice", any_order=True)
def slices(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    rank = len(x.shape)
    starts = _list(node.setting("starts", 1))
    ends = _list(node.setting("ends", 2))
    axes = _list(node.setting("axes", 3, list(range(len(starts)))))
    steps = _list(node.setting("steps", 4, [1] * len(starts)))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= rank
        chosen = range(x.shape[axis])[slice(start, end if end > -(2**31) else None, step)]
        x = picked(graph, x, axis, chosen)
    return x


@onnx("Gather", any_order=True)
def gather(graph: CaffeGraph, node: Node) -> Value:
    x, axis = node.value(0), node.axis(0)
    if x.array is not None:
        return _embedded(graph, x.array, node.value(1), axis)
    indices = node.array(1, "indices")
    n = x.shape[axis]
    if indices.size and not -n <= indices.min() <= indices.max() < n:
        raise NetError(f"its indices go beyond the {n} places of axis {axis}")
    y = picked(graph, x, axis, [int(i) % n for i in indices.reshape(-1)])
    if indices.ndim == 1:
        return y
    return graph.reshaped(y, [*y.shape[:axis], *indices.shape, *y.shape[axis + 1 :]])


def _embedded(graph: CaffeGraph, table: Array, places: Value, axis: int) -> Value:
    """Return rows of a table that is known, by numbers that the net is given or computes."""
    if axis != 0 or table.ndim < 2:
        raise NetError("Caffe's Embed looks up rows of a table, nothing else")
    rows = table.reshape(len(table), -1)
    settings = {"input_dim": len(rows), "num_output": rows.shape[1], "bias_term": False}
    made = graph.layer("Embed", places, arrays=[rows], embed_param=settings)
    return graph.reshaped(made, [*places.shape, *table.shape[1:]])


def picked(graph: CaffeGraph, x: Value, axis: int, chosen: Sequence[int]) -> Value:
    """Return some places along an axis."""
    n = x.shape[axis]
    places = list(chosen)
    if not places:
        raise NetError("nothing is left of it")
    if places == list(range(n)):
        return x
    if places == list(range(places[0], places[-1] + 1)):
        own = cut(graph, Value(x.blob), x.order[axis], places[0], places[-1] + 1)
        return graph.alike(x, own)
    matrix = np.zeros((len(places), n))
    matrix[range(len(places)), places] = 1
    return matrix_applied(graph, x, axis, matrix)


def cut(graph: CaffeGraph, x: Value, axis: int, start: int, end: int) -> Value:
    """Return a part of a plain value, without what is before and behind it."""
    n = x.shape[axis]
    if (start, end) == (0, n):
        return x
    if axis in (2, 3) and len(x.shape) == 4 and not graph.target.leaves_rests:
        # What is left over would be an output of the net: a window with one tap looks past it.
        size = [1, 1]
        size[axis - 2] = n - (end - start) + 1
        taps = np.zeros((x.shape[1], 1, *size))
        taps[:, 0, start if axis == 2 else 0, start if axis == 3 else 0] = 1
        return convolved(graph, x, taps, group=x.shape[1])
    points = [point for point in (start, end) if 0 < point < n]
    parts = graph.cuts(x, axis, points)
    return parts[0 if start == 0 else 1]


@onnx("Expand", any_order=True)
def expand(graph: CaffeGraph, node: Node) -> Value:
    from .arithmetic import expanded

    x = node.value(0)
    wanted = tuple(int(n) for n in node.array(1, "shape"))
    return expanded(graph, x, np.broadcast_shapes(x.shape, wanted))


@onnx("Tile")
def tile(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    for axis, times in enumerate(_list(node.array(1, "repeats").tolist())):
        check_length(times)
        if times != 1:
            x = joined(graph, [x] * times, axis)
    return x


@onnx("Pad", any_order=True)
def pad(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    rank = len(x.shape)
    pads = _list(node.setting("pads", 1))
    axes = _list(node.array(3).tolist()) if node.has(3) else list(range(rank))
    value = node.setting("value", 2, 0.0)
    mode = node.get("mode", "constant")
    number = float(np.asarray(value).item()) if mode == "constant" else 0.0
    if abs(number) > MOST_PADDING:
        raise NetError(f"padding by {number:g} would make nothing of the other numbers")
    sides = {
        axis % rank: (pads[i], pads[i + len(axes)])
        for i, axis in enumerate(axes)
        if (pads[i], pads[i + len(axes)]) != (0, 0)
    }
    x = graph.power(x, shift=-number)
    return graph.power(padded(graph, x, sides, mode), shift=number)


MOST_PADDING = 1e3
"""What is added to all numbers so that zeros stand for it; they keep that many digits less."""

MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def padded(graph: CaffeGraph, x: Value, sides: Mapping[int, tuple[int, int]], mode: str) -> Value:
    """Return a value with places added (or taken off) before and behind some axes."""
    for axis, (before, behind) in sides.items():
        n = x.shape[axis]
        check_length(max(before, behind))
        if before <= 0 and behind <= 0:
            x = picked(graph, x, axis, range(-before, n + behind))
            continue
        # Which place each new one repeats; -1 for a zero.
        inside = np.arange(max(0, -before), n - max(0, -behind))
        width = (max(0, before), max(0, behind))
        if mode == "constant":
            places = np.pad(inside, width, constant_values=-1)
        else:
            places = np.pad(inside, width, mode=MODES[mode])  # type: ignore[call-overload]
        matrix = np.zeros((len(places), n))
        real = places >= 0
        matrix[np.flatnonzero(real), places[real]] = 1
        x = matrix_applied(graph, x, axis, matrix)
    return x


@onnx("DepthToSpace")
def depth_to_space(graph: CaffeGraph, node: Node) -> Value:
    x, block = node.value(0), int(node.need("blocksize"))
    n, c, h, w = x.shape
    c //= block * block
    if node.get("mode", "DCR") == "DCR":
        apart, order = [n, block, block, c, h, w], [0, 3, 4, 1, 5, 2]
    else:
        apart, order = [n, c, block, block, h, w], [0, 1, 4, 2, 5, 3]
    y = graph.reshaped(x, apart)
    return graph.reshaped(Value(y.blob, order), [n, c, h * block, w * block])


@onnx("SpaceToDepth")
def space_to_depth(graph: CaffeGraph, node: Node) -> Value:
    x, block = node.value(0), int(node.need("blocksize"))
    channels = x.shape[1]
    kernels = np.zeros((channels * block * block, 1, block, block))
    for i in range(block):
        for j in range(block):
            for c in range(channels):
                kernels[c * block * block + i * block + j, 0, i, j] = 1
    # By channel, then block; ONNX has the block first.
    y = convolved(graph, x, kernels, None, (block, block), group=channels)
    order = np.arange(channels * block * block).reshape(channels, block * block).T.reshape(-1)
    return picked(graph, y, 1, order.tolist())
