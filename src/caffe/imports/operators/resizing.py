"""Maps in another size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...errors import NetError
from ..caffe_graph import Array, CaffeGraph, Node, Value, onnx
from .arithmetic import expanded
from .convolution import deconvolved
from .product import check_length, matrix_applied


@onnx("Resize", "Upsample")
def resize(graph: CaffeGraph, node: Node) -> Value:
    x = node.value(0)
    rank = len(x.shape)
    sizes, scales = _sizes(node, x.shape)
    check_length(max(sizes))
    axes = [axis for axis in range(rank) if sizes[axis] != x.shape[axis]]
    if not axes:
        return x
    mode = node.get("mode", "nearest")
    if all(x.shape[axis] == 1 for axis in axes) and mode in ("nearest", "linear"):
        return expanded(graph, x, tuple(sizes))
    rule = node.get("coordinate_transformation_mode", "half_pixel")
    if node.kind == "Upsample" or node.opset < 11:
        rule = "asymmetric"
    factors = [sizes[axis] // x.shape[axis] for axis in range(rank)]
    is_whole = all(x.shape[axis] * factors[axis] == sizes[axis] for axis in axes)
    rounding = node.get("nearest_mode", "round_prefer_floor")
    if node.opset < 11:
        rounding = "floor"
    if mode == "nearest" and is_whole and rank == 4 and set(axes) <= {2, 3}:
        repeated = all(
            np.array_equal(
                _nearest(x.shape[a], sizes[a], scales[a], rule, rounding),
                np.arange(sizes[a]) // factors[a],
            )
            for a in axes
        )
        if repeated:
            return _repeated(graph, x, factors[2:])
    corners = mode == "linear" and rule == "align_corners"
    if corners and set(axes) <= {2, 3} and rank == 4 and graph.target.knows("Interp"):
        param = {"height": sizes[2], "width": sizes[3]}
        return graph.layer("Interp", x, interp_param=param)
    for axis in axes:
        n, m = x.shape[axis], sizes[axis]
        if mode == "nearest":
            places = _nearest(n, m, scales[axis], rule, rounding)
            matrix = np.zeros((m, n))
            matrix[range(m), places] = 1
        elif mode in ("linear", "cubic"):
            places = _places(n, m, scales[axis], rule)
            taps = _linear_taps if mode == "linear" else _cubic_taps
            matrix = taps(places, n, float(node.get("cubic_coeff_a", -0.75)))
            if node.get("antialias", 0):
                raise NetError("antialiasing is not taken into account; export without it")
        else:
            raise NetError(f"resizing by {mode!r} is unknown")
        x = matrix_applied(graph, x, axis, matrix)
    return x


def _sizes(node: Node, shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """The lengths of all axes, and the factors that they come from."""
    rank = len(shape)
    scales, sizes = [1.0] * rank, list(shape)
    if "scales" in node.attributes:
        given = node.attributes["scales"]
    else:
        # Since version 11 the region stands between.
        at = 1 if node.kind == "Upsample" or node.opset < 11 else 2
        given = node.array(at, "scales").tolist() if node.has(at) else []
    axes = [axis % rank for axis in node.get("axes", range(rank))]
    if given:
        for axis, scale in zip(axes, given, strict=True):
            scales[axis] = float(scale)
            sizes[axis] = math.floor(shape[axis] * scale + 1e-6)
        return sizes, scales
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NetError("sizes by an aspect ratio are not taken; export the sizes themselves")
    for axis, size in zip(axes, node.array(3, "sizes").tolist(), strict=True):
        sizes[axis] = int(size)
        scales[axis] = size / shape[axis]
    return sizes, scales


def _places(n: int, m: int, scale: float, rule: str) -> Array:
    """Where each new place lies in the old ones."""
    i = np.arange(m, dtype=np.float64)
    if rule == "align_corners":
        return i * (n - 1) / (m - 1) if m > 1 else np.zeros(1)
    if rule == "asymmetric":
        return i / scale
    if rule == "pytorch_half_pixel" and m == 1:
        return np.zeros(1)
    if rule in ("half_pixel", "pytorch_half_pixel"):
        return (i + 0.5) / scale - 0.5
    if rule == "half_pixel_symmetric":
        adjusted = n / 2 * (1 - m / (scale * n))
        return adjusted + (i + 0.5) / scale - 0.5
    raise NetError(f"coordinates by {rule!r} are not taken")


def _nearest(n: int, m: int, scale: float, rule: str, rounding: str) -> Array:
    places = _places(n, m, scale, rule)
    if rounding.startswith("round"):
        places = np.ceil(places - 0.5) if rounding.endswith("floor") else np.floor(places + 0.5)
    rounded: Array = np.floor(places) if rounding == "floor" else np.ceil(places)
    return np.clip(rounded, 0, n - 1).astype(int)


def _linear_taps(places: Array, n: int, a: float) -> Array:
    matrix = np.zeros((len(places), n))
    inside = np.clip(places, 0, n - 1)
    low = np.floor(inside).astype(int)
    share = inside - low
    rows = np.arange(len(places))
    np.add.at(matrix, (rows, low), 1 - share)
    np.add.at(matrix, (rows, np.minimum(low + 1, n - 1)), share)
    return matrix


def _cubic_taps(places: Array, n: int, a: float) -> Array:
    matrix = np.zeros((len(places), n))
    base = np.floor(places).astype(int)
    rows = np.arange(len(places))
    for tap in range(-1, 3):
        d = np.abs(places - (base + tap))
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        weight = np.where(d <= 1, near, np.where(d < 2, far, 0))
        np.add.at(matrix, (rows, np.clip(base + tap, 0, n - 1)), weight)
    return matrix


def _repeated(graph: CaffeGraph, x: Value, factors: Sequence[int]) -> Value:
    """Each place repeated in both directions."""
    channels = x.shape[1]
    kernels = np.ones((channels, 1, *factors))
    return deconvolved(graph, x, kernels, strides=list(factors), group=channels)
