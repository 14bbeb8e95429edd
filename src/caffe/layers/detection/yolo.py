"""YOLO: from a region net's map to boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ...errors import NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import (
    RegionParameter,
    RegionYoloParameter,
    YoloDetectionOutputParameter,
    Yolov3DetectionOutputParameter,
)
from ...pytorch import torch
from ..axes import picture_size
from ..layer import Layer, P, register
from .boxes import growth, non_maximum_suppression
from .detection_output import GivesDetections, detection_rows

if TYPE_CHECKING:
    from torch import Tensor

YOLO_V3_PRIORS = (
    *(116, 90, 156, 198, 373, 326),
    *(30, 61, 62, 45, 59, 119),
    *(10, 13, 16, 30, 33, 23),
)
"""Width and height in pixels of YOLO v3's nine boxes, three for each map."""

YOLO_V3_THRESHOLD = 0.5


def read_maps(x: Tensor, boxes_of_place: int, priors: Tensor) -> tuple[Tensor, Tensor]:
    """Read a map: boxes (N, H W A, 4) as corners in parts of the picture, and all the rest.

    Parameters
    ----------
    x : Tensor
        (N, A (5 + classes), H, W)
    boxes_of_place : int
        A, how many boxes each place has.
    priors : Tensor
        (A, 2): width and height that each box starts from, in parts of the picture.

    Returns
    -------
    boxes : Tensor
        (N, H W A, 4)
    scores : Tensor
        (N, H W A, 1 + classes), before any activation: of an object, and of each class.
    """
    centers, sides, scores = read_places(x, boxes_of_place, priors)
    return torch.cat([centers - sides / 2, centers + sides / 2], -1), scores


def read_places(x: Tensor, boxes_of_place: int, priors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Read a map as `read_maps` does: boxes' middles, their width and height, and all the rest.

    The middles, (N, H W A, 2), are in parts of the picture, width and height in what `priors` are.
    """
    num, _, height, width = x.shape
    values = x.reshape(num, boxes_of_place, -1, height, width).permute(0, 3, 4, 1, 2)
    row = torch.arange(height, dtype=x.dtype, device=x.device)[:, None, None]
    column = torch.arange(width, dtype=x.dtype, device=x.device)[:, None]
    at_x = (values[..., 0].sigmoid() + column) / width
    at_y = (values[..., 1].sigmoid() + row) / height
    centers = torch.stack([at_x, at_y], -1)
    parts = (centers, growth(values[..., 2:4]) * priors, values[..., 4:])
    centers, sides, scores = (
        part.reshape(num, height * width * boxes_of_place, part.shape[-1]) for part in parts
    )
    return centers, sides, scores


V = TypeVar("V", bound=YoloDetectionOutputParameter | Yolov3DetectionOutputParameter)
"""The messages of YOLO's versions 2 and 3."""


class YoloOutput(GivesDetections, Layer[P]):
    """A layer that gives rows (image, label, score, x1, y1, x2, y2); label 0 is the background."""

    tops = 1
    has_gradient = False
    no_gradient_for = frozenset(range(8))
    is_pure = False
    differences = "each picture's boxes are thinned out by themselves, and have its number"

    @property
    def boxes_of_place(self) -> int:
        """How many boxes each place of a map has."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """How many classes there are, without the background."""
        raise NotImplementedError

    @property
    def labels(self) -> int:
        return self.classes + 1

    @property
    def overlap(self) -> float:
        """The part of the union from which on a box is too much in another's place."""
        raise NotImplementedError

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        channels = self.boxes_of_place * (5 + self.classes)
        for number, shape in enumerate(bottoms):
            if len(shape) != 4 or shape[0] != bottoms[0][0] or shape[1] != channels:
                raise ShapeError(
                    f"{self.boxes_of_place} boxes of {self.classes} classes need maps of "
                    f"shape ({bottoms[0][0]}, {channels}, height, width), but bottom {number} has "
                    f"the shape {shape}"
                )
        return [(1, 1, 1, 7)]

    def rows(self, boxes: Tensor, scores: Tensor, labels: Tensor, picture: int) -> Tensor:
        """Thin out one picture's boxes, whatever their class, and make rows of them."""
        order = scores.argsort(descending=True, stable=True)
        # A box goes from this overlap on, not above it.
        limit = float(np.nextafter(np.float32(self.overlap), np.float32(-1)))
        order = order[non_maximum_suppression(boxes[order], limit)]
        image = scores.new_full((len(order),), picture)
        parts = torch.stack([image, labels[order].to(scores.dtype) + 1, scores[order]], 1)
        return torch.cat([parts, boxes[order]], 1)


class Versioned(YoloOutput[V]):
    """What the layers of versions 2 and 3 share."""

    @property
    def boxes_of_place(self) -> int:
        return self.param.num_box

    @property
    def classes(self) -> int:
        return self.param.num_classes

    @property
    def overlap(self) -> float:
        return self.param.nms_threshold


@register("YoloDetectionOutput")
class YoloDetectionOutput(Versioned[YoloDetectionOutputParameter]):
    """Rows (image, label, score, x1, y1, x2, y2) from YOLO v2's maps; labels start at 1.

    Each place has num_box boxes with the channels x, y, w, h, object, classes: centre
    (place + sigmoid(x, y)) / map's size, size exp(w, h) * biases / map's size, score
    sigmoid(object) * the largest of softmax(classes) (Redmon and Farhadi, 2017).
    """

    message = "yolo_detection_output_param"
    bottoms = (1, 2)

    def setup(self, *bottoms: Shape) -> None:
        _check_biases(self.param.biases, self.param.num_box)

    def forward(self, *maps: Tensor) -> Tensor:
        biases = maps[0].new_tensor(list(self.param.biases)).view(-1, 2)
        every = []
        for x in maps:
            size = x.new_tensor([x.shape[3], x.shape[2]])
            every.append(read_maps(x, self.boxes_of_place, biases[: self.boxes_of_place] / size))
        boxes = torch.cat([b for b, _ in every], 1)
        raw = torch.cat([s for _, s in every], 1)
        best, labels = raw[..., 1:].softmax(-1).max(-1)
        scores = raw[..., 0].sigmoid() * best
        found = []
        for i, passed in enumerate(scores >= self.param.confidence_threshold):
            found.append(self.rows(boxes[i, passed], scores[i, passed], labels[i, passed], i))
        return detection_rows(found, len(scores), maps[0])


@register("Yolov3DetectionOutput")
class Yolov3DetectionOutput(Versioned[Yolov3DetectionOutputParameter]):
    """Rows (image, label, score, x1, y1, x2, y2) from YOLO v3's maps; labels start at 1.

    As YoloDetectionOutput, but each class above the threshold gives a row of its own, with the
    score sigmoid(object) * sigmoid(class); the sizes that boxes start from are those that
    `mask` names for each bottom, in pixels of a picture anchors_scale times as large as the map
    (Redmon and Farhadi, 2018).
    """

    message = "yolov3_detection_output_param"
    bottoms = (1, None)

    def setup(self, *bottoms: Shape) -> None:
        param, count = self.param, len(bottoms)
        if param.mask_group_num != count or len(param.anchors_scale) < count:
            raise NetError(
                f"{count} bottoms need mask_group_num {count} and as many anchors_scale, not "
                f"{param.mask_group_num} and {list(param.anchors_scale)}"
            )
        self._group = len(param.mask) // count
        if self._group < param.num_box:
            raise NetError(
                f"{count} bottoms of {param.num_box} boxes need {count * param.num_box} times "
                f"mask, not {len(param.mask)}"
            )
        _check_biases(param.biases, max(param.mask) + 1)

    def forward(self, *maps: Tensor) -> Tensor:
        param = self.param
        biases = maps[0].new_tensor(list(param.biases)).view(-1, 2)
        every = []
        for i, x in enumerate(maps):
            own = list(param.mask)[i * self._group :][: param.num_box]
            size = x.new_tensor([x.shape[3], x.shape[2]]) * param.anchors_scale[i]
            every.append(read_maps(x, self.boxes_of_place, biases[own] / size))
        boxes = torch.cat([b for b, _ in every], 1)
        raw = torch.cat([s for _, s in every], 1).sigmoid()
        scores = raw[..., :1] * raw[..., 1:]
        found = []
        for i in range(len(scores)):
            box, label = (scores[i] > param.confidence_threshold).nonzero(as_tuple=True)
            found.append(self.rows(boxes[i, box], scores[i, box, label], label, i))
        return detection_rows(found, len(scores), maps[0])


@register("Yolo")
class Yolo(Layer):
    """How many boxes YOLO v3's maps show, then x, y, width, height, class and score of each.

    TensorRT's plugin: the top is (N, 1 + 6 B, 1, 1), B being 3 for each place of the three
    bottoms (N, 3 (5 + classes), H, W), the coarsest map first. The middle is in parts of the
    picture, width and height are in pixels of what the net gets; those are counted whose best
    sigmoid(object) * sigmoid(class) lies above 0.5, and nothing is thinned out. What follows the
    last box is 0.
    """

    bottoms = 3
    has_gradient = False
    no_gradient_for = frozenset({0, 1, 2})
    differences = "of TensorRT"

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        places = 0
        for number, shape in enumerate(bottoms):
            height, width = picture_size(shape)
            if shape[:2] != bottoms[0][:2] or shape[1] % 3 or shape[1] < 18:
                raise ShapeError(
                    f"the maps must hold as many pictures, and 3 boxes of 5 numbers and the "
                    f"classes, but bottom {number} has the shape {shape}, bottom 0 {bottoms[0]}"
                )
            places += height * width
        return [(bottoms[0][0], 1 + 3 * places * 6, 1, 1)]

    def forward(self, *maps: Tensor) -> Tensor:
        top = maps[0].new_zeros(self.top_shapes(*(tuple(x.shape) for x in maps))[0])
        priors = maps[0].new_tensor(YOLO_V3_PRIORS).view(3, 3, 2)
        every = [read_places(x, 3, prior) for x, prior in zip(maps, priors, strict=True)]
        centers, sides, raw = (torch.cat(parts, 1) for parts in zip(*every, strict=True))
        scores = raw.sigmoid()
        best, labels = (scores[..., 1:] * scores[..., :1]).max(-1)
        rows = torch.cat([centers, sides, labels[..., None].to(sides), best[..., None]], -1)
        for picture, shown in enumerate(best > YOLO_V3_THRESHOLD):
            found = rows[picture, shown]
            top[picture, 0] = len(found)
            top[picture, 1 : 1 + found.numel()] = found.reshape(-1, 1, 1)
        return top


@register("Region")
class Region(YoloOutput[RegionParameter]):
    """Rows (image, label, score, x1, y1, x2, y2) from YOLO v2's map; labels start at 1.

    As YoloDetectionOutput, but each class gives rows of its own, and boxes are thinned out by
    class (darknet's converters write it so). `anchors` are widths and heights in cells.
    """

    message = "region_param"
    differences = "of converters from darknet"

    @property
    def boxes_of_place(self) -> int:
        return self.param.num

    def setup(self, *bottoms: Shape) -> None:
        try:
            self._anchors = [float(n) for n in self.param.anchors.replace(",", " ").split()]
        except ValueError as error:
            raise NetError(f"anchors must be numbers with commas between: {error}") from error
        _check_biases(self._anchors, self.param.num)

    @property
    def classes(self) -> int:
        return self.param.classes

    @property
    def overlap(self) -> float:
        return self.param.nms

    def forward(self, x: Tensor) -> Tensor:
        size = x.new_tensor([x.shape[3], x.shape[2]])
        anchors = x.new_tensor(self._anchors[: 2 * self.param.num]).view(-1, 2)
        boxes, raw = read_maps(x, self.param.num, anchors / size)
        scores = raw[..., :1].sigmoid() * raw[..., 1:].softmax(-1)
        found = []
        for i in range(len(x)):
            for label in range(self.param.classes):
                passed = scores[i, :, label] > self.param.thresh
                if bool(passed.any()):
                    labels = torch.full((int(passed.sum()),), label, device=x.device)
                    chosen = scores[i, passed, label]
                    found.append(self.rows(boxes[i, passed], chosen, labels, i))
        return detection_rows(found, len(x), x)


@register("RegionYolo")
class RegionYolo(Layer[RegionYoloParameter]):
    """YOLO v2's activations: sigmoid of x, y and object, softmax of the classes; then flat.

    The map's channels are `num` times (coords, object, classes); flatten_param says which axes
    become one.
    """

    message = "region_yolo_param"
    forbids_in_place = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        param, shape = self.param, bottoms[0]
        channels = param.num * (param.coords + 1 + param.classes)
        if len(shape) != 4 or shape[1] != channels:
            raise ShapeError(
                f"num {param.num}, coords {param.coords} and classes {param.classes} need a map "
                f"with {channels} channels, but the bottom's shape is {shape}"
            )
        flatten = self.layer_param.flatten_param
        first, last = self.axis(flatten.axis, shape), self.axis(flatten.end_axis, shape, "end_axis")
        merged = torch.Size(shape[first : last + 1]).numel()
        return [(*shape[:first], merged, *shape[last + 1 :])]

    def forward(self, x: Tensor) -> Tensor:
        coords = self.param.coords
        parts = x.view(len(x), self.param.num, -1, *x.shape[2:])
        place, rest, thing, classes = parts.split([2, coords - 2, 1, self.param.classes], 2)
        y = torch.cat([place.sigmoid(), rest, thing.sigmoid(), classes.softmax(2)], 2)
        return y.reshape(self.top_shapes(tuple(x.shape))[0])


def _check_biases(biases: Sequence[float], boxes: int) -> None:
    if len(biases) < 2 * boxes:
        raise NetError(
            f"{boxes} boxes need {2 * boxes} times biases (width and height each), not "
            f"{len(biases)}"
        )
