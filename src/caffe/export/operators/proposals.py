"""The regions that a region proposal net finds."""

from __future__ import annotations

import numpy as np

from ...layers.detection.boxes import LARGEST_EXPONENT
from ...layers.detection.proposal import RPROI, Proposal, ProposalLayer, Proposer
from ...layers.python import PythonLayer
from ...memory.blob import Shape
from ..onnx_graph import OnnxGraph, Value, onnx


def _moved(
    proposer: Proposer, graph: OnnxGraph, offsets: Value, info: Value
) -> tuple[Value, Value]:
    """The anchors moved and cut to the picture (B, 4), and which are not too small (B)."""
    count, (height, width) = len(proposer.boxes), graph.shape(offsets)[2:]
    row, column = np.mgrid[:height, :width] * proposer.stride
    corner = np.stack([column, row, column, row], -1)[:, :, None]
    boxes = (corner + proposer.boxes).reshape(-1, 4).astype(np.float32)
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    centers = boxes[:, :2] + sides / 2
    own = graph.reshaped(offsets, (count, 4, height, width))
    own = graph.reshaped(graph.op("Transpose", own, perm=[2, 3, 0, 1]), (-1, 4))
    moved, grown = graph.cut_into(own, 1, [2, 2])
    lengths = graph.constant(sides)
    middle = graph.op("Add", graph.op("Mul", moved, lengths), graph.constant(centers))
    growth = graph.op("Exp", graph.clipped(grown, None, LARGEST_EXPONENT))
    half = graph.times(graph.op("Mul", growth, lengths), 0.5)
    found = graph.op("Concat", graph.op("Sub", middle, half), graph.op("Add", middle, half), axis=1)
    numbers = graph.reshaped(info, [-1])
    # The picture's width and height, twice.
    size = graph.op("Gather", numbers, graph.constant([1, 0, 1, 0]))
    cut = graph.clipped(graph.op("Min", found, graph.plus(size, -1)), 0)
    scales = [3, 2] if int(np.prod(graph.shape(info))) > 3 else [2, 2]
    scale = graph.op("Gather", numbers, graph.constant(scales))
    low, high = graph.cut_into(cut, 1, [2, 2])
    lengths = graph.plus(graph.op("Sub", high, low), 1)
    small = graph.op("Less", lengths, graph.times(scale, proposer.smallest))
    fitting = graph.op("Sub", graph.constant(np.float32(1)), graph.floating(small))
    return cut, graph.reduced("ReduceMin", fitting, [1], keepdims=False)


def proposed(
    proposer: Proposer, graph: OnnxGraph, scores: Value, offsets: Value, info: Value
) -> tuple[Value, Value]:
    """Regions (R, 5) and their scores (R)."""
    count, (height, width) = len(proposer.boxes), graph.shape(scores)[2:]
    boxes, fitting = _moved(proposer, graph, offsets, info)
    own = graph.cut(scores, 1, count, 2 * count)
    values = graph.reshaped(graph.op("Transpose", own, perm=[0, 2, 3, 1]), [-1])
    if proposer.drops_small:
        index = graph.reshaped(graph.op("NonZero", fitting), [-1])
        boxes, values = (graph.op("Gather", v, index) for v in (boxes, values))
    else:
        values = graph.op("Mul", values, fitting)
    there = graph.op("Shape", values)
    before = proposer.before if proposer.before > 0 else height * width * count
    most = graph.op("Min", there, graph.constant([before]))
    values, order = graph.many("TopK", 2, values, most, axis=0)
    boxes = graph.op("Gather", boxes, order)
    # Boxes of pixels reach over their last one.
    whole = graph.op("Add", boxes, graph.constant(np.array([0.0, 0.0, 1.0, 1.0])))
    chosen = graph.op(
        "NonMaxSuppression",
        graph.op("Unsqueeze", whole, graph.constant([0])),
        graph.op("Unsqueeze", values, graph.constant([0, 1])),
        graph.constant([proposer.after]),
        graph.constant(np.array([proposer.threshold])),
    )
    kept = graph.reshaped(graph.cut(chosen, 1, 2, 3), [-1])
    regions = graph.op("Gather", boxes, kept)
    return graph.padded(regions, [(0, 0), (1, 0)]), graph.op("Gather", values, kept)


@onnx.rule(Proposal)
def _proposal(layer: Proposal, graph: OnnxGraph, *bottoms: Value) -> list[Value]:
    found = proposed(layer.proposer, graph, *bottoms)
    return list(found[: len(layer.layer_param.top)])


@onnx.rule(RPROI)
def _rproi(
    layer: RPROI, graph: OnnxGraph, scores: Value, offsets: Value, features: Value, info: Value
) -> list[Value]:
    regions, _ = proposed(layer.proposer, graph, scores, offsets, info)
    count = layer.param.nms_max_out
    # Where fewer are found, the rest are 0.
    full = graph.op("Pad", regions, graph.constant([0, 0, count, 0]))
    full = graph.cut(full, 0, 0, count)
    pooling = layer._pooling.param
    pooled = graph.op(
        "MaxRoiPool",
        features,
        full,
        pooled_shape=[pooling.pooled_h, pooling.pooled_w],
        spatial_scale=pooling.spatial_scale,
    )
    return [graph.op("Unsqueeze", graph.cut(full, 1, 1, 5), graph.constant([0, 1])), pooled]


def _own_code(layer: PythonLayer, *shapes: Shape) -> str | None:
    if isinstance(layer.face, ProposalLayer):
        return None
    return "what a Python layer does is told by its code alone"


@onnx.rule(PythonLayer, unless=_own_code)
def _python(layer: PythonLayer, graph: OnnxGraph, *bottoms: Value) -> list[Value]:
    regions, scores = proposed(layer.face.proposer, graph, *bottoms)
    tops = [regions, graph.op("Unsqueeze", scores, graph.constant([1]))]
    return tops[: len(layer.layer_param.top)]
