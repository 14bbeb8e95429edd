"""Maps looked up between places: spatial transformers and deformable convolutions."""

from __future__ import annotations

import numpy as np

from ...layers.sampling import DeformableConvolution, SpatialTransformer
from ..onnx_graph import OnnxGraph, Value, onnx


def looked_up(
    graph: OnnxGraph, x: Value, rows: Value, columns: Value, keeps_last: bool = False
) -> Value:
    """Maps (N, C, H, W) interpolated at points (N, P), zero outside: (N, C, P).

    With `keeps_last` points up to a place behind the last one have its value.
    """
    n, channels, height, width = graph.shape(x)
    return looked_up_in(graph, x, (n, channels, height, width), rows, columns, keeps_last)


def looked_up_in(
    graph: OnnxGraph,
    x: Value,
    shape: tuple[int, ...],
    rows: Value,
    columns: Value,
    keeps_last: bool,
) -> Value:
    """As `looked_up`, of maps whose shape is told."""
    n, channels, height, width = shape
    flat = graph.reshaped(x, (n, channels, height * width))
    counted = None
    if keeps_last:
        counted = inside_of(graph, rows, columns, height, width)
        rows, columns = graph.clipped(rows, 0, height - 1), graph.clipped(columns, 0, width - 1)
    top, left = graph.op("Floor", rows), graph.op("Floor", columns)
    dy, dx = graph.op("Sub", rows, top), graph.op("Sub", columns, left)
    one = graph.constant(np.float32(1))
    total: Value | None = None
    for row, share_y in ((top, graph.op("Sub", one, dy)), (graph.plus(top, 1), dy)):
        for column, share_x in ((left, graph.op("Sub", one, dx)), (graph.plus(left, 1), dx)):
            inside = inside_of(graph, row, column, height, width)
            y, z = graph.clipped(row, 0, height - 1), graph.clipped(column, 0, width - 1)
            place = graph.op("Add", graph.times(y, width), z)
            index = graph.op("Unsqueeze", graph.whole(place), graph.constant([1]))
            spread = graph.op("Expand", index, graph.constant([1, channels, 1]))
            values = graph.op("GatherElements", flat, spread, axis=2)
            share = graph.op("Mul", graph.op("Mul", share_y, share_x), inside)
            share = graph.op("Unsqueeze", share, graph.constant([1]))
            product = graph.op("Mul", values, share)
            total = product if total is None else graph.op("Add", total, product)
    assert total is not None
    if counted is None:
        return total
    return graph.op("Mul", total, graph.op("Unsqueeze", counted, graph.constant([1])))


def inside_of(graph: OnnxGraph, rows: Value, columns: Value, height: int, width: int) -> Value:
    """1 for points from the first place on and before the end, 0 for others."""
    zero, result = graph.constant(np.float32(0)), None
    for place, length in ((rows, height), (columns, width)):
        for test in (
            graph.op("GreaterOrEqual", place, zero),
            graph.op("Less", place, graph.constant(np.float32(length))),
        ):
            result = test if result is None else graph.op("And", result, test)
    assert result is not None
    return graph.floating(result)


@onnx.rule(SpatialTransformer)
def _spatial_transformer(
    layer: SpatialTransformer, graph: OnnxGraph, x: Value, theta: Value
) -> Value:
    shape = graph.shape(x)
    n, channels, height, width = layer.top_shapes(shape, graph.shape(theta))[0]
    given = iter(graph.cut_into(graph.reshaped(theta, (n, 6 - len(layer._fixed))), 1,
                                [1] * (6 - len(layer._fixed))))  # fmt: skip
    entries = [
        graph.constant(np.full((n, 1), layer._fixed[i], np.float32))
        if i in layer._fixed
        else next(given)
        for i in range(6)
    ]
    matrix = graph.reshaped(graph.op("Concat", *entries, axis=1), (n, 2, 3))
    row = np.arange(height, dtype=np.float32) / height * 2 - 1
    column = np.arange(width, dtype=np.float32) / width * 2 - 1
    y, z = np.meshgrid(row, column, indexing="ij")
    points = np.stack([y, z, np.ones_like(y)]).reshape(3, -1)
    there = graph.op("MatMul", matrix, graph.constant(points))
    rows, columns = (
        graph.times(graph.plus(graph.op("Squeeze", part, graph.constant([1])), 1), size / 2)
        for part, size in zip(graph.cut_into(there, 1, [1, 1]), shape[2:], strict=True)
    )
    return graph.reshaped(looked_up(graph, x, rows, columns), (n, channels, height, width))


@onnx.rule(DeformableConvolution)
def _deformable_convolution(
    layer: DeformableConvolution, graph: OnnxGraph, x: Value, offsets: Value
) -> Value:
    num, channels, *size = graph.shape(x)
    group = layer.param.deformable_group
    high, wide = graph.shape(offsets)[2:]
    taps, places = layer.kernel[0] * layer.kernel[1], high * wide
    each = channels // group
    maps = graph.reshaped(x, (num * group, each, *size))
    moves = graph.reshaped(offsets, (num * group, taps * 2, places))
    parts = graph.cut_into(moves, 1, [1] * (2 * taps))
    y = (np.arange(high, dtype=np.float32) * layer.stride[0] - layer.pad[0])[:, None]
    z = np.arange(wide, dtype=np.float32) * layer.stride[1] - layer.pad[1]
    above, before = (np.ascontiguousarray(v).reshape(1, -1) for v in np.broadcast_arrays(y, z))
    seen = []
    for tap in range(taps):
        down, right = divmod(tap, layer.kernel[1])
        rows, columns = (
            graph.op("Add", graph.op("Squeeze", part, graph.constant([1])), graph.constant(base))
            for part, base in (
                (parts[2 * tap], above + down * layer.dilation[0]),
                (parts[2 * tap + 1], before + right * layer.dilation[1]),
            )
        )
        shape = (num * group, each, *size)
        values = looked_up_in(graph, maps, shape, rows, columns, keeps_last=True)
        seen.append(graph.op("Unsqueeze", values, graph.constant([2])))
    stacked = graph.op("Concat", *seen, axis=2)
    columns_of = graph.reshaped(stacked, (num, channels * taps, high, wide))
    weight = graph.arrays()[0].numpy()
    flat = weight.reshape(len(weight), -1, 1, 1)
    weights = [graph.parameter(0, flat)]
    if layer.param.bias_term:
        weights.append(graph.parameter(1))
    return graph.op("Conv", columns_of, *weights, kernel_shape=[1, 1], group=layer.param.group)
