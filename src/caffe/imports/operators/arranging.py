"""Axes in another order: kept in mind where that suffices, else by Permute or by cutting."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...errors import NetError
from ..caffe_graph import CaffeGraph, Node, Value, onnx

MOST_PARTS = 128
"""Into how many parts a blob is cut at most to change two axes."""


@onnx("Transpose", any_order=True)
def transpose(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    perm = node.get("perm") or list(range(len(x.shape)))[::-1]
    if sorted(perm) != list(range(len(x.shape))):
        raise NetError(f"perm {list(perm)} is no order of {len(x.shape)} axes")
    # Nothing is moved until somebody needs it so.
    return Value(x.blob, [x.order[axis] for axis in perm])


def permuted(graph: CaffeGraph, x: Value, order: Sequence[int]) -> Value:
    """Return a plain value whose axis i is x's axis order[i], numbers being moved."""
    shape = [x.shape[axis] for axis in order]
    longs = [axis for axis in order if x.shape[axis] != 1]
    if longs == sorted(longs):
        return graph.reshaped(x, shape)
    if graph.target.knows("Permute") and len(order) <= 4:
        return graph.layer("Permute", x, permute_param={"order": list(order)})
    moved, blocks = _by_blocks(x.shape, order)
    if graph.target.knows("Permute") and len(moved) <= 4:
        y = graph.reshaped(x, [*moved, *[1] * (4 - len(moved))])
        blocks = [*blocks, *range(len(moved), 4)]
        y = graph.layer("Permute", y, permute_param={"order": blocks})
        return graph.reshaped(y, shape)
    if graph.target.knows("Permute"):
        return graph.reshaped(_one_by_one(graph, x, moved, blocks), shape)
    return graph.reshaped(_by_parts(graph, graph.reshaped(x, moved), blocks), shape)


def _by_blocks(shape: Sequence[int], order: Sequence[int]) -> tuple[list[int], list[int]]:
    """The same order of fewer axes: those of length 1 left out, neighbours that stay so as one."""
    longs = [axis for axis in range(len(shape)) if shape[axis] != 1]
    kept = [axis for axis in order if shape[axis] != 1]
    groups: list[list[int]] = []
    for axis in kept:
        if groups and longs.index(axis) == longs.index(groups[-1][-1]) + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    in_place = sorted(groups)
    sizes = [math.prod(shape[axis] for axis in group) for group in in_place]
    return sizes, [in_place.index(group) for group in groups]


def _one_by_one(graph: CaffeGraph, x: Value, shape: Sequence[int], order: Sequence[int]) -> Value:
    """Bring one axis after the other to its place, past those before it; four axes at a time."""
    places = list(range(len(shape)))
    for goal, axis in enumerate(order):
        at = places.index(axis)
        if at == goal:
            continue
        lengths = [shape[place] for place in places]
        parts = (lengths[:goal], lengths[goal:at], lengths[at : at + 1], lengths[at + 1 :])
        x = graph.reshaped(x, [math.prod(part) for part in parts])
        x = graph.layer("Permute", x, permute_param={"order": [0, 2, 1, 3]})
        places.insert(goal, places.pop(at))
    return x


def _by_parts(graph: CaffeGraph, x: Value, order: Sequence[int]) -> Value:
    """Change neighbouring axes until all stand right, each time by cutting and joining."""
    shape, left = list(x.shape), list(order)
    places = list(range(len(shape)))
    for goal, axis in enumerate(left):
        at = places.index(axis)
        while at > goal:
            x = _swapped(graph, x, at - 1)
            places[at - 1], places[at] = places[at], places[at - 1]
            at -= 1
    return x


def _swapped(graph: CaffeGraph, x: Value, axis: int) -> Value:
    """Change an axis and the one behind it."""
    shape = x.shape
    before, behind = list(shape[:axis]), list(shape[axis + 2 :])
    a, b = shape[axis], shape[axis + 1]
    if min(a, b) > MOST_PARTS:
        others = "opencv, rknn or ascend"
        raise NetError(
            f"axes of {a} and {b} are to change places, for which {graph.target.full_name} has no "
            f"layer; --target {others} has Permute, or name --outputs before it"
        )
    first = a <= b
    count, along = (a, axis) if first else (b, axis + 1)
    settings = {} if along == 1 else {"axis": along}
    parts = graph.many("Slice", count, x, slice_param=settings)
    # A part's one place along its axis may stand before or behind the other axis.
    small = [*before, b, 1, *behind] if first else [*before, 1, a, *behind]
    moved = [graph.reshaped(part, small) for part in parts]
    joined = axis + 1 if first else axis
    return graph.layer("Concat", *moved, concat_param={} if joined == 1 else {"axis": joined})
