"""SSD's layers: the boxes known beforehand, and the boxes that are left of its predictions."""

from __future__ import annotations

import numpy as np

from ...layers.detection.boxes import CORNER, CORNER_SIZE, LARGEST_EXPONENT
from ...layers.detection.detection_output import DetectionOutput
from ...layers.detection.prior_box import PriorBox
from ...memory.blob import Shape
from ...pytorch import torch
from ..onnx_graph import LAST, LOWEST, OnnxGraph, Value, onnx


@onnx.rule(PriorBox)
def _prior_box(layer: PriorBox, graph: OnnxGraph, *bottoms: Value) -> Value:
    """The boxes depend on the bottoms' shapes alone."""
    # One picture's do for any batch.
    zeros = (torch.zeros(1, 1, *graph.shape(bottom)[2:], dtype=torch.float32) for bottom in bottoms)
    return graph.constant(layer.forward(*zeros).numpy())


def decoded(graph: OnnxGraph, offsets: Value, priors: Value, code_type: int) -> Value:
    """The boxes (..., 4) that offsets from priors stand for."""
    if code_type == CORNER:
        return graph.op("Add", priors, offsets)
    low, high = graph.cut_into(priors, -1, [2, 2])
    sizes = graph.op("Sub", high, low)
    if code_type == CORNER_SIZE:
        both = graph.op("Concat", sizes, sizes, axis=-1)
        return graph.op("Add", priors, graph.op("Mul", offsets, both))
    moved, grown = graph.cut_into(offsets, -1, [2, 2])
    middle = graph.times(graph.op("Add", low, high), 0.5)
    centers = graph.op("Add", graph.op("Mul", moved, sizes), middle)
    growth = graph.op("Exp", graph.clipped(grown, None, LARGEST_EXPONENT))
    half = graph.times(graph.op("Mul", growth, sizes), 0.5)
    return graph.op(
        "Concat", graph.op("Sub", centers, half), graph.op("Add", centers, half), axis=-1
    )


def _unlike(layer: DetectionOutput, *shapes: Shape) -> str | None:
    if layer.param.nms_param.eta < 1:
        return "with eta below 1 the threshold changes from box to box"
    if layer.param.num_classes - (layer.param.background_label_id >= 0) < 1:
        return "there is no class but the background"
    return None


@onnx.rule(DetectionOutput, unless=_unlike)
def _detection_output(layer: DetectionOutput, graph: OnnxGraph, *bottoms: Value) -> Value:
    found = _Detections(layer, graph, *bottoms)
    return found.rows()


def rows_or_nothing(graph: OnnxGraph, found: Value, images: int) -> Value:
    """The top (1, 1, R, 7) of rows (R, 7); where there are none, one of -1 for each picture."""
    nothing = np.full((images, 7), -1, np.float32)
    nothing[:, 0] = np.arange(images)
    is_empty = graph.op("Equal", graph.op("Shape", found, end=1), graph.constant([0]))
    end = graph.op("Mul", graph.whole(is_empty), graph.constant([LAST // 2]))
    instead = graph.op(
        "Slice", graph.constant(nothing), graph.constant([0]), end, graph.constant([0])
    )
    rows = graph.op("Concat", found, instead, axis=0)
    return graph.op("Unsqueeze", rows, graph.constant([0, 1]))


class _Detections:
    """DetectionOutput's steps."""

    def __init__(
        self,
        layer: DetectionOutput,
        graph: OnnxGraph,
        offsets: Value,
        scores: Value,
        priors: Value,
        *refined: Value,
    ) -> None:
        param = layer.param
        self.param, self.graph = param, graph
        self.images = graph.shape(offsets)[0]
        self.priors = graph.shape(priors)[2] // 4
        self.of_prior = 1 if param.share_location else param.num_classes
        self.labels = [c for c in range(param.num_classes) if c != param.background_label_id]
        count, images = self.priors, self.images
        both = graph.reshaped(priors, (2, count, 4))
        boxes, variances = graph.cut_into(both, 0, [1, 1])
        self.variances = None if param.variance_encoded_in_target else variances
        scores = graph.reshaped(scores, (images, count, param.num_classes))
        if len(refined) == 2:
            objects = graph.reshaped(refined[0], (images, count, 2))
            least = graph.constant(np.float32(param.objectness_score))
            easy = graph.op("Less", graph.cut(objects, 2, 1, 2), least)
            scores = graph.op("Where", easy, graph.constant(np.float32(0)), scores)
            first = graph.reshaped(refined[1], (images, count, 4))
            boxes = decoded(graph, self._varied(first), boxes, param.code_type)
        # (1 or N, P, 1, 4), and (N, P, 1 or classes, 4).
        boxes = graph.op("Unsqueeze", boxes, graph.constant([2]))
        offsets = graph.reshaped(offsets, (images, count, self.of_prior, 4))
        if self.variances is not None:
            spread = graph.op("Unsqueeze", self.variances, graph.constant([2]))
            offsets = graph.op("Mul", offsets, spread)
        decoded_boxes = decoded(graph, offsets, boxes, param.code_type)
        self.boxes = graph.op("Transpose", decoded_boxes, perm=[0, 2, 1, 3])
        by_class = graph.op("Transpose", scores, perm=[0, 2, 1])
        self.scores = self._of_labels(by_class)

    def _varied(self, offsets: Value) -> Value:
        return offsets if self.variances is None else self.graph.op("Mul", offsets, self.variances)

    def _of_labels(self, x: Value) -> Value:
        """Without the background; classes are on axis 1."""
        if len(self.labels) == self.param.num_classes:
            return x
        return self.graph.op("Gather", x, self.graph.constant(self.labels), axis=1)

    def _best(self) -> tuple[Value, Value, int]:
        """Of each class the top_k best scores (N C, 1, K) and their boxes (N C, K, 4)."""
        graph, nms = self.graph, self.param.nms_param
        top_k = nms.top_k if nms.HasField("top_k") and nms.top_k > -1 else self.priors
        top_k = min(top_k, self.priors)
        rows = self.images * len(self.labels)
        scores, index = graph.many("TopK", 2, self.scores, graph.constant([top_k]), axis=2)
        boxes = self.boxes
        if self.of_prior > 1:
            boxes = self._of_labels(boxes)
        else:
            every = [self.images, len(self.labels), self.priors, 4]
            boxes = graph.op("Expand", boxes, graph.constant(every))
        spread = graph.op(
            "Expand",
            graph.op("Unsqueeze", index, graph.constant([3])),
            graph.constant([1, 1, 1, 4]),
        )
        boxes = graph.op("GatherElements", boxes, spread, axis=2)
        return (
            graph.reshaped(scores, (rows, 1, top_k)),
            graph.reshaped(boxes, (rows, top_k, 4)),
            top_k,
        )

    def rows(self) -> Value:
        """The top (1, 1, R, 7)."""
        graph, param = self.graph, self.param
        scores, boxes, top_k = self._best()
        threshold = param.confidence_threshold if param.HasField("confidence_threshold") else LOWEST
        kept = graph.op(
            "NonMaxSuppression",
            self._with_sides(boxes),
            scores,
            graph.constant([top_k]),
            graph.constant(np.array([param.nms_param.nms_threshold])),
            graph.constant(np.array([threshold])),
        )
        # Row and place in it, as one number: rows are pictures' classes.
        row, _, place = graph.cut_into(kept, 1, [1, 1, 1])
        places = graph.op("Add", graph.op("Mul", row, graph.constant([top_k])), place)
        count = self.images * len(self.labels) * top_k
        table = graph.op(
            "ScatterND",
            graph.constant(np.full(count, LOWEST, np.float32)),
            places,
            graph.op("Gather", graph.reshaped(scores, [count]), graph.reshaped(places, [-1])),
        )
        each = len(self.labels) * top_k
        if -1 < param.keep_top_k < each:
            table = self._keep_best(table, each, count)
        there = graph.op("Greater", table, graph.constant(np.float32(LOWEST)))
        index = graph.reshaped(graph.op("NonZero", there), [-1])
        return self._written(index, table, boxes, each, top_k, count)

    def _with_sides(self, boxes: Value) -> Value:
        """Boxes without area in the place of those that are turned inside out.

        In Caffe these overlap nothing; NonMaxSuppression would turn them back.
        """
        if self.param.code_type not in (CORNER, CORNER_SIZE):
            return boxes
        low, high = self.graph.cut_into(boxes, -1, [2, 2])
        return self.graph.op("Concat", low, self.graph.op("Max", low, high), axis=-1)

    def _keep_best(self, table: Value, each: int, count: int) -> Value:
        """Of each picture's scores only the best keep_top_k."""
        graph = self.graph
        pictures = graph.reshaped(table, (self.images, each))
        best, index = graph.many(
            "TopK", 2, pictures, graph.constant([self.param.keep_top_k]), axis=1
        )
        empty = graph.constant(np.full((self.images, each), LOWEST, np.float32))
        return graph.reshaped(graph.op("ScatterElements", empty, index, best, axis=1), [count])

    def _written(
        self, index: Value, table: Value, boxes: Value, each: int, top_k: int, count: int
    ) -> Value:
        """Rows (image, label, score, box) of the places named, or -1 where there are none."""
        graph = self.graph

        def column(value: Value) -> Value:
            return graph.op("Unsqueeze", graph.floating(value), graph.constant([1]))

        image = graph.op("Div", index, graph.constant([each]))
        within = graph.op("Mod", index, graph.constant([each]))
        number = graph.op("Div", within, graph.constant([top_k]))
        label = graph.op("Gather", graph.constant(self.labels), number)
        score = graph.op("Gather", table, index)
        box = graph.op("Gather", graph.reshaped(boxes, (count, 4)), index)
        found = graph.op("Concat", column(image), column(label), column(score), box, axis=1)
        return rows_or_nothing(graph, found, self.images)
