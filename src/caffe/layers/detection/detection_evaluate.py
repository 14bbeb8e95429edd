"""Which detections are right: DetectionEvaluate of SSD and EvalDetection of YOLO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import CaffeError, NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import DetectionEvaluateParameter, EvalDetectionParameter
from ...pytorch import torch
from ..layer import Layer, register
from ..sources.picture_sizes import read_sizes
from .boxes import non_maximum_suppression, overlaps
from .yolo import read_maps

if TYPE_CHECKING:
    from torch import Tensor

NO_LABEL = -1


def judged(boxes: Tensor, truth: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Match boxes, the best first, with true ones: each true box is found once.

    Parameters
    ----------
    boxes, truth : Tensor
        (N, 4) and (M, 4).
    threshold : float
        The least overlap.

    Returns
    -------
    owner : Tensor
        (N), int64: the true box that each overlaps most, -1 where that is too little.
    first : Tensor
        (N), bool: nobody before had this true box.
    """
    if not len(truth):
        return boxes.new_full((len(boxes),), -1).long(), boxes.new_zeros(len(boxes)) > 0
    most, owner = overlaps(boxes, truth).max(1)
    owner = torch.where(most >= threshold, owner, torch.full_like(owner, -1))
    same = (owner[:, None] == owner) & (owner >= 0)
    return owner, (owner >= 0) & ~same.tril(-1).any(1)


@register("DetectionEvaluate")
class DetectionEvaluate(Layer[DetectionEvaluateParameter]):
    """Rows (image, label, score, right, wrong) for each detection (SSD).

    Bottoms: DetectionOutput's rows, and true boxes as rows (image, label, instance, x1, y1, x2,
    y2, difficult). Before them stands a row (-1, label, true boxes, -1, -1) for each class.
    """

    message = "detection_evaluate_param"
    family = "loss"
    bottoms = 2
    has_gradient = False
    no_gradient_for = frozenset({0, 1})
    is_pure = False
    differences = "resize_param is refused"

    def setup(self, *bottoms: Shape) -> None:
        if not self.param.HasField("num_classes") or self.param.num_classes < 1:
            raise NetError("detection_evaluate_param needs num_classes")
        if self.param.overlap_threshold <= 0:
            raise NetError(
                f"overlap_threshold must be positive, not {self.param.overlap_threshold:g}"
            )
        if self.param.HasField("resize_param"):
            raise NetError("detection_evaluate_param.resize_param is left out")
        self._sizes: list[tuple[int, int]] = []
        if self.param.name_size_file:
            self._sizes = read_sizes(self.param.name_size_file)
        self._next = 0

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        for number, wide in ((0, 7), (1, 8)):
            if bottoms[number][-1:] != (wide,) or bottoms[number][:-2] not in ((1, 1), ()):
                raise ShapeError(
                    f"bottom {number} must have the shape (1, 1, rows, {wide}), not "
                    f"{bottoms[number]}"
                )
        return [(1, 1, self.param.num_classes, 5)]

    def forward(self, found: Tensor, truth: Tensor) -> Tensor:
        param = self.param
        found, truth = found.reshape(-1, 7), truth.reshape(-1, 8)
        found = found[found[:, 1] != NO_LABEL]
        truth = truth[truth[:, 0] >= 0]
        for what, labels in (("detections", found[:, 1]), ("true boxes", truth[:, 1])):
            if bool((labels == param.background_label_id).any()):
                raise CaffeError(f"the {what} have the background's label")
        # A store may have boxes of more classes than the net finds; these count nowhere.
        strange = found[(found[:, 1] < 0) | (found[:, 1] >= param.num_classes), 1]
        if len(strange):
            raise CaffeError(
                f"the detections have the label {strange[0]:g}: with num_classes "
                f"{param.num_classes} labels go from 0 to {param.num_classes - 1}"
            )
        counted = truth if param.evaluate_difficult_gt else truth[truth[:, 7] == 0]
        rows = [
            found.new_tensor([[-1, c, int((counted[:, 1] == c).sum()), -1, -1]])
            for c in range(param.num_classes)
            if c != param.background_label_id
        ]
        for image in found[:, 0].unique(sorted=True).tolist():
            ours, theirs = found[found[:, 0] == image], truth[truth[:, 0] == image]
            scale = self._scale(found)
            for label in ours[:, 1].unique(sorted=True).tolist():
                own, right = ours[ours[:, 1] == label], theirs[theirs[:, 1] == label]
                if len(right):
                    own = own[own[:, 2].argsort(descending=True, stable=True)]
                rows.append(self._rows(own, right, scale))
        return torch.cat(rows)[None, None]

    def _rows(self, own: Tensor, right: Tensor, scale: Tensor | None) -> Tensor:
        """Rows of one class in one picture."""
        boxes, true = own[:, 3:], right[:, 3:7]
        if scale is not None:
            boxes, true = boxes * scale, true * scale
        owner, first = judged(boxes, true, self.param.overlap_threshold)
        wrong = ~first
        if not self.param.evaluate_difficult_gt and len(right):
            # What finds a difficult object counts neither way.
            difficult = (right[:, 7] != 0)[owner.clamp(min=0)] & (owner >= 0)
            first, wrong = first & ~difficult, wrong & ~difficult
        marks = torch.stack([first, wrong], 1).to(own)
        return torch.cat([own[:, :3], marks], 1)

    def _scale(self, like: Tensor) -> Tensor | None:
        """The next picture's width and height, twice, where a file gives them."""
        if not self._sizes:
            return None
        height, width = self._sizes[self._next]
        self._next = (self._next + 1) % len(self._sizes)
        return like.new_tensor([width, height, width, height])


@register("EvalDetection")
class EvalDetection(Layer[EvalDetectionParameter]):
    """For each picture how many objects of each class it has, then (label, score, right, wrong).

    Bottoms: YOLO v2's map (N, num_object (5 + num_class), side, side), and true boxes
    (N, rows * 5): class, then centre, width and height in parts of the picture; the first row
    of width 0 ends them. More bottoms are not looked at. Detections are thinned out by `nms`
    whatever their class; those below 0.005 count nothing; unused places are 0.
    """

    message = "eval_detection_param"
    family = "loss"
    bottoms = (2, 3)
    has_gradient = False
    no_gradient_for = frozenset({0, 1, 2})
    is_pure = False
    differences = "YOLO v2's form"

    LEAST = 0.005

    def setup(self, *bottoms: Shape) -> None:
        if len(self.param.biases) < 2 * self.param.num_object:
            raise NetError(
                f"num_object {self.param.num_object} needs twice as many biases, not "
                f"{len(self.param.biases)}"
            )

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        param, shape = self.param, bottoms[0]
        channels = param.num_object * (5 + param.num_class)
        if len(shape) != 4 or shape[1] != channels:
            raise ShapeError(f"the map must have {channels} channels, but its shape is {shape}")
        return [(shape[0], param.num_class + shape[2] * shape[3] * param.num_object * 4)]

    def forward(self, x: Tensor, truth: Tensor, *unused: Tensor) -> Tensor:
        param = self.param
        biases = x.new_tensor(list(param.biases)[: 2 * param.num_object]).view(-1, 2)
        size = x.new_tensor([x.shape[3], x.shape[2]])
        boxes, raw = read_maps(x, param.num_object, biases / size)
        best, labels = raw[..., 1:].softmax(-1).max(-1)
        thing = raw[..., 0].sigmoid()
        scores = {0: thing, 1: best, 2: thing * best}[param.score_type]
        top = x.new_zeros(self.top_shapes(tuple(x.shape), tuple(truth.shape))[0])
        for i, true in enumerate(true_boxes(truth, len(x))):
            if len(true) and not bool(((true[:, 0] >= 0) & (true[:, 0] < param.num_class)).all()):
                raise CaffeError(f"a true box has a class that is none of {param.num_class}")
            for label in true[:, 0].long().tolist():
                top[i, label] += 1
            rows = self._rows(boxes[i], scores[i], labels[i], true).reshape(-1)
            top[i, param.num_class : param.num_class + len(rows)] = rows
        return top

    def _rows(self, boxes: Tensor, scores: Tensor, labels: Tensor, true: Tensor) -> Tensor:
        order = scores.argsort(descending=True, stable=True)
        if self.param.nms >= 0:
            order = order[non_maximum_suppression(boxes[order], self.param.nms)]
        order = order[scores[order] >= self.LEAST]
        rows = [boxes.new_zeros(0, 4)]
        for label in labels[order].unique(sorted=True).tolist():
            own = order[labels[order] == label]
            right = true[true[:, 0] == label][:, 1:]
            owner, first = judged(boxes[own], right, self.param.threshold)
            # A class that is not there has only wrong ones; else what overlaps none counts not.
            wrong = ~first & (owner >= 0) if len(right) else ~first
            head = torch.stack([labels[own].to(scores), scores[own]], 1)
            rows.append(torch.cat([head, torch.stack([first, wrong], 1).to(head)], 1))
        return torch.cat(rows)


def true_boxes(truth: Tensor, images: int) -> list[Tensor]:
    """Read true boxes as a YOLO layer gets them: for each picture (M, 5) of class and corners.

    They stand either as (images, rows * 5): class, centre, width, height; or in SSD's rows of 8
    (image, label from 1, instance, corners, difficult).

    Raises
    ------
    ShapeError
        They stand in neither way.
    """
    if truth.shape[-1] == 8 and truth.dim() == 4 and truth.shape[0] == 1:
        rows = truth.reshape(-1, 8)
        found = []
        for image in range(images):
            own = rows[(rows[:, 0] == image) & (rows[:, 1] > 0)]
            found.append(torch.cat([own[:, 1:2] - 1, own[:, 3:7]], 1))
        return found
    if len(truth) != images or truth[0].numel() % 5:
        raise ShapeError(
            f"true boxes must be rows of 5 numbers for each of {images} pictures, or SSD's rows "
            f"(1, 1, rows, 8), but their shape is {tuple(truth.shape)}"
        )
    found = []
    for rows in truth.reshape(images, -1, 5):
        ends = (rows[:, 1] == 0).nonzero()
        own = rows[: int(ends[0]) if len(ends) else len(rows)]
        center, half = own[:, 1:3], own[:, 3:] / 2
        found.append(torch.cat([own[:, :1], center - half, center + half], 1))
    return found
