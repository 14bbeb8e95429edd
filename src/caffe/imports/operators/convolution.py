"""Convolutions and their transposes, whose padding may differ from side to side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import NetError
from ..caffe_graph import Array, CaffeGraph, Node, Value, onnx
from ..targets import TARGETS
from .product import check_length

Work = Callable[..., Value]
"""`convolved` or `deconvolved`."""


def pads_of(node: Node, size: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
    """Return the padding before and behind each spatial axis."""
    axes = len(size)
    strides = node.get("strides", [1] * axes)
    kind = node.get("auto_pad", "NOTSET")
    if kind in ("NOTSET", "VALID"):
        pads = node.get("pads", [0] * 2 * axes) if kind == "NOTSET" else [0] * 2 * axes
        return list(zip(pads[:axes], pads[axes:], strict=True))
    if kind not in ("SAME_UPPER", "SAME_LOWER"):
        raise NetError(f"auto_pad {kind!r} is unknown")
    sides = []
    for n, k, s in zip(size, kernel, strides, strict=True):
        whole = max(0, (-(-n // s) - 1) * s + k - n)
        sides.append(_halves(whole, smaller_first=kind == "SAME_UPPER"))
    return sides


def spatial(name: str, values: Sequence[int], default: int) -> dict[str, list[int]]:
    """Return a field of ConvolutionParameter, left out where it has its default."""
    if all(n == default for n in values):
        return {}
    same = all(n == values[0] for n in values)
    return {name: [int(values[0])] if same else [int(n) for n in values]}


def _as_pictures(
    work: Work,
    graph: CaffeGraph,
    x: Value,
    weight: Array,
    bias: Array | None,
    strides: list[int],
    sides: list[tuple[int, int]],
    dilations: list[int],
    group: int,
) -> Value:
    """Return what `convolved` or `deconvolved` gives; a row of places is a picture of width 1."""
    rank = len(x.shape)
    if rank == 4 or (rank > 4 and graph.target.volumes):
        return work(graph, x, weight, bias, strides, sides, dilations, group)
    if rank != 3:
        others = [name for name, target in TARGETS.items() if target.volumes]
        raise NetError(
            f"{graph.target.full_name} has no convolutions over {rank - 2} axes; of the targets "
            f"{', '.join(others)} has; else one over two axes for each place along the third would "
            "do"
        )
    rows = graph.reshaped(x, [*x.shape, 1])
    more = [*strides, 1], [*sides, (0, 0)], [*dilations, 1]
    y = work(graph, rows, weight[..., None], bias, *more, group)
    return graph.reshaped(y, y.shape[:3])


def _settings(
    node: Node,
) -> tuple[Value, Array, Array | None, list[int], list[int], int]:
    """What a node works on, its weight, bias, strides, dilations and number of groups."""
    x, weight = node.value(0), node.array(1, "weight")
    axes = len(x.shape) - 2
    bias = node.array(2, "bias") if node.has(2) else None
    strides = list(node.get("strides", [1] * axes))
    dilations = list(node.get("dilations", [1] * axes))
    return x, weight, bias, strides, dilations, int(node.get("group", 1))


@onnx("Conv")
def convolution(graph: CaffeGraph, node: Node) -> Value:
    x, weight, bias, strides, dilations, group = _settings(node)
    sides = pads_of(node, x.shape[2:], _reach(weight, dilations))
    return _as_pictures(convolved, graph, x, weight, bias, strides, sides, dilations, group)


def _reach(weight: Array, dilations: Sequence[int]) -> list[int]:
    """How many places a kernel covers along each axis."""
    return [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]


def convolved(
    graph: CaffeGraph,
    x: Value,
    weight: Array,
    bias: Array | None = None,
    strides: Sequence[int] = (1, 1),
    sides: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
) -> Value:
    """Return a convolution, the padding being its own for each side."""
    if group == x.shape[1] and not graph.target.pads_lines:
        weight, sides = _on_lines(weight, x.shape[2:], sides, dilations)
    pads, zeros = [], [(0, 0)] * weight.ndim
    reaches = _reach(weight, dilations)
    for axis, (n, s, d, reach) in enumerate(
        zip(x.shape[2:], strides, dilations, reaches, strict=True), 2
    ):
        before, behind = sides[axis - 2]
        count = (n + before + behind - reach) // s
        if min(before, behind) < 0 or (n + 2 * before - reach) // s != count:
            # Zeros in the kernel stand for padding that there is on one side alone.
            extra = abs(behind - before)
            check_length(extra)
            if min(before, behind) < 0 or extra % d:
                raise NetError(
                    f"padding of {before} before and {behind} behind with dilation {d} has no "
                    "form in Caffe; pad the picture before"
                )
            zeros[axis] = (extra // d, 0) if behind > before else (0, extra // d)
            before = max(before, behind)
        pads.append(before)
    weight = np.pad(weight, zeros)
    return _layer(
        graph, "Convolution", x, len(weight), weight, bias, strides, pads, dilations, group
    )


def _on_lines(
    weight: Array, size: Sequence[int], sides: Sequence[tuple[int, int]], dilations: Sequence[int]
) -> tuple[Array, list[tuple[int, int]]]:
    """Return kernels without what sees padding alone, where a map has one place, and the rest."""
    kept = list(sides)
    for axis, (n, (before, behind), d, k) in enumerate(
        zip(size, sides, dilations, weight.shape[2:], strict=True)
    ):
        if n == d == 1 and 0 < before < k and before + behind == k - 1:
            weight = weight.take([before], axis + 2)
            kept[axis] = (0, 0)
    return weight, kept


def _layer(
    graph: CaffeGraph,
    kind: str,
    x: Value,
    outputs: int,
    weight: Array,
    bias: Array | None,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
) -> Value:
    if not _takes(graph, kind, dilations):
        weight, dilations = _spread(weight, dilations), [1] * len(dilations)
    settings = {
        "num_output": outputs,
        **({} if bias is not None else {"bias_term": False}),
        **spatial("kernel_size", weight.shape[2:], 0),
        **spatial("stride", strides, 1),
        **spatial("pad", pads, 0),
        **spatial("dilation", dilations, 1),
        **({} if group == 1 else {"group": group}),
    }
    arrays = [weight] if bias is None else [weight, bias]
    return graph.layer(kind, x, arrays=arrays, convolution_param=by_axis(settings))


def _turned(weight: Array, group: int) -> Array:
    """Return the kernels by which a convolution does what a transposed one in steps of 1 does."""
    inputs, outputs, *size = weight.shape
    apart = weight.reshape(group, inputs // group, outputs, *size).swapaxes(1, 2)
    turned: Array = np.flip(apart, tuple(range(3, apart.ndim)))
    return turned.reshape(-1, inputs // group, *size)


def _takes(graph: CaffeGraph, kind: str, dilations: Sequence[int]) -> bool:
    """Whether the reader knows such dilations."""
    if kind == "Deconvolution" and not graph.target.dilates_transposes:
        return all(d == 1 for d in dilations)
    return not graph.target.dilates_alike or len(set(dilations)) == 1


def _spread(weight: Array, dilations: Sequence[int]) -> Array:
    """Return kernels with zeros where dilated ones have nothing."""
    wide = np.zeros((*weight.shape[:2], *_reach(weight, dilations)))
    places = (slice(None), slice(None), *(slice(None, None, d) for d in dilations))
    wide[places] = weight
    return wide


def by_axis(settings: dict[str, object]) -> dict[str, object]:
    """Say heights and widths that differ in the fields that every reader of Caffe's nets has."""
    made: dict[str, object] = {}
    short = {"kernel_size": "kernel", "stride": "stride", "pad": "pad"}
    for name, value in settings.items():
        if name in short and isinstance(value, list) and len(value) == 2:
            made[f"{short[name]}_h"], made[f"{short[name]}_w"] = value
        else:
            made[name] = value
    return made


@onnx("ConvTranspose")
def deconvolution(graph: CaffeGraph, node: Node) -> Value:
    x, weight, bias, strides, dilations, group = _settings(node)
    axes = len(strides)
    more = list(node.get("output_padding", [0] * axes))
    kernel = _reach(weight, dilations)
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
    rule = node.get("auto_pad", "NOTSET")
    if wanted := node.get("output_shape"):
        cut = [f + m - w for f, m, w in zip(full, more, wanted[-axes:], strict=True)]
        sides = [_halves(c, smaller_first=rule == "SAME_UPPER") for c in cut]
    elif rule.startswith("SAME"):
        cut = [f - n * s for f, n, s in zip(full, x.shape[2:], strides, strict=True)]
        sides = [_halves(c, smaller_first=rule == "SAME_UPPER") for c in cut]
    else:
        sides = pads_of(node, x.shape[2:], kernel)
    sides = [(before, behind - m) for (before, behind), m in zip(sides, more, strict=True)]
    return _as_pictures(deconvolved, graph, x, weight, bias, strides, sides, dilations, group)


def _halves(whole: int, smaller_first: bool) -> tuple[int, int]:
    less, more = whole // 2, whole - whole // 2
    return (less, more) if smaller_first else (more, less)


def deconvolved(
    graph: CaffeGraph,
    x: Value,
    weight: Array,
    bias: Array | None = None,
    strides: Sequence[int] = (1, 1),
    sides: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
) -> Value:
    """Return a transposed convolution, cut by its own for each side."""
    if set(strides) == {1} and not graph.target.transposes_without_steps:
        reach = _reach(weight, dilations)
        turned = [(r - 1 - a, r - 1 - b) for r, (a, b) in zip(reach, sides, strict=True)]
        if min(map(min, turned)) >= 0:
            kernels = _turned(weight, group)
            return convolved(graph, x, kernels, bias, strides, turned, dilations, group)
    pads, zeros = [], [(0, 0)] * weight.ndim
    for axis, ((before, behind), d) in enumerate(zip(sides, dilations, strict=True), 2):
        pad = max(before, behind, 0)
        check_length(max(pad - before, pad - behind))
        if (pad - before) % d or (pad - behind) % d:
            raise NetError(
                f"a transposed convolution cut by {before} before and {behind} behind has no form "
                f"in Caffe with dilation {d}"
            )
        # Zeros beyond the kernel's end add what is to be cut off there.
        zeros[axis] = ((pad - before) // d, (pad - behind) // d)
        pads.append(pad)
    outputs = weight.shape[1] * group
    weight = np.pad(weight, zeros)
    return _layer(graph, "Deconvolution", x, outputs, weight, bias, strides, pads, dilations, group)
