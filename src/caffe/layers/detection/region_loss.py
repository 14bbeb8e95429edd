"""RegionLoss: what YOLO v2 is trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import CaffeError, NetError, ShapeError
from ...memory.blob import Shape
from ...phases import TRAIN
from ...proto.caffe_pb2 import RegionLossParameter
from ...pytorch import torch
from ..layer import Tensors, register
from ..loss import Loss
from .boxes import overlaps
from .detection_evaluate import true_boxes
from .yolo import read_maps

if TYPE_CHECKING:
    from torch import Tensor

WARM_UP = 12800
"""As many pictures are seen before boxes without an object are left alone."""

FEW = 0.01


@dataclass
class _Picture:
    """One picture's predictions: as they come, activated, and their boxes."""

    raw: Tensor
    active: Tensor
    boxes: Tensor


@register("RegionLoss")
class RegionLoss(Loss[RegionLossParameter]):
    """top = sum of squared errors of boxes, objects and classes, each by how many there are.

    Bottoms: YOLO v2's map (N, num (coords + 1 + num_class), H, W), and true boxes (N, rows * 5):
    class, then centre, width and height in parts of the picture; or SSD's rows of 8. Each true
    box belongs to the place in which its centre lies, and to the box there whose form is most
    like its own. The gradient is half that of the squares, by N, as in darknet
    (Redmon and Farhadi, 2017).
    """

    message = "region_loss_param"
    bottoms = (2, 3)
    no_gradient_for = frozenset({1, 2})
    is_pure = False
    differences = "coords is 4; softmax_tree and class_map are refused"

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if param.coords != 4 or param.softmax_tree or param.class_map:
            raise NetError("coords must be 4; softmax_tree and class_map are left out")
        if len(param.biases) < 2 * param.num:
            raise NetError(f"num {param.num} needs {2 * param.num} biases, not {len(param.biases)}")
        self._seen = 0

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        channels = self.param.num * (5 + self.param.num_class)
        if len(bottoms[0]) != 4 or bottoms[0][1] != channels:
            raise ShapeError(
                f"num {self.param.num} and num_class {self.param.num_class} need a map with "
                f"{channels} channels, but the bottom's shape is {bottoms[0]}"
            )
        return [()]

    def forward(self, x: Tensor, truth: Tensor, *unused: Tensor) -> Tensor:
        if self.phase == TRAIN:
            self._seen += len(x)
        return self._assess(x, truth)[0]

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        gradient = self._assess(inputs[0], inputs[1])[1]
        return [diffs[0] * gradient / len(inputs[0]), *[None] * (len(inputs) - 1)]

    def _assess(self, x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, and half of its squares' gradient by the map."""
        param = self.param
        height, width = x.shape[2:]
        anchors = x.new_tensor(list(param.biases)[: 2 * param.num]).view(-1, 2)
        size = x.new_tensor([width, height])
        boxes, _ = read_maps(x, param.num, anchors / size)
        raw = x.view(len(x), param.num, -1, height, width).permute(0, 3, 4, 1, 2)
        active = raw.clone()
        active[..., :2] = raw[..., :2].sigmoid()
        active[..., 4] = raw[..., 4].sigmoid()
        if param.softmax:
            active[..., 5:] = raw[..., 5:].softmax(-1)
        gradient = torch.zeros_like(active)
        # Losses of classes, boxes, objects and of places without any.
        parts = x.new_zeros(4)
        count = 0
        for i, true in enumerate(true_boxes(truth, len(x))):
            picture = _Picture(raw[i], active[i], boxes[i].view(height, width, param.num, 4))
            self._without_objects(picture, true, anchors, parts, gradient[i])
            for row in true:
                self._object(picture, row, anchors, parts, gradient[i])
            count += len(true)
        places = height * width * param.num * len(x)
        by = x.new_tensor([count + FEW, count + FEW, count + FEW, places - count - FEW])
        back = gradient.permute(0, 3, 4, 1, 2).reshape(x.shape)
        return (parts / by).sum(), back

    def _without_objects(
        self, picture: _Picture, true: Tensor, anchors: Tensor, parts: Tensor, gradient: Tensor
    ) -> None:
        """Places that overlap no true box enough should say so; early on, boxes stay as given."""
        param = self.param
        most = picture.boxes.new_zeros(picture.boxes.shape[:3])
        if len(true):
            flat = overlaps(picture.boxes.reshape(-1, 4), true[:, 1:]).amax(1)
            most = flat.view(most.shape)
        thing = picture.active[..., 4]
        empty = most <= param.thresh
        parts[3] += param.noobject_scale * thing[empty].square().sum()
        slope = param.noobject_scale * thing * thing * (1 - thing)
        gradient[..., 4] = torch.where(empty, slope, torch.zeros_like(slope))
        if self.phase == TRAIN and self._seen < WARM_UP:
            wanted = torch.zeros_like(picture.active[..., :4])
            wanted[..., :2] = 0.5
            self._boxes(picture.active[..., :4], wanted, FEW, parts, gradient[..., :4])

    @staticmethod
    def _boxes(
        active: Tensor, wanted: Tensor, scale: float, parts: Tensor, gradient: Tensor
    ) -> None:
        error = active - wanted
        parts[1] += scale * error.square().sum()
        slope = torch.ones_like(error)
        slope[..., :2] = active[..., :2] * (1 - active[..., :2])
        gradient.copy_(scale * error * slope)

    def _object(
        self, picture: _Picture, row: Tensor, anchors: Tensor, parts: Tensor, gradient: Tensor
    ) -> None:
        """One true box (class and corners): which prediction it is, and that one's errors."""
        param = self.param
        height, width = picture.boxes.shape[:2]
        label = int(row[0])
        sides = row[3:] - row[1:3]
        center = (row[1:3] + row[3:]) / 2 * row.new_tensor([width, height])
        j, i = int(center[1]), int(center[0])
        if not (0 <= label < param.num_class and 0 <= i < width and 0 <= j < height):
            raise CaffeError(
                f"a true box of class {label} has its centre at place ({j}, {i}) of a map of "
                f"{height} x {width} places and {param.num_class} classes"
            )
        if param.bias_match:
            forms = anchors / anchors.new_tensor([width, height])
        else:
            forms = picture.boxes[j, i, :, 2:] - picture.boxes[j, i, :, :2]
        shared = torch.minimum(forms, sides).clamp(min=0).prod(1)
        n = int((shared / (forms.prod(1) + sides.prod() - shared)).argmax())
        wanted = torch.cat([center - center.floor(), (sides * center.new_tensor([width, height]))])
        wanted[2:] = (wanted[2:] / anchors[n]).log()
        active, own = picture.active[j, i, n], gradient[j, i, n]
        self._boxes(active[:4], wanted, param.coord_scale, parts, own[:4])
        overlap = overlaps(picture.boxes[j, i, n][None], row[None, 1:])[0, 0]
        target = overlap if param.rescore else torch.ones_like(overlap)
        error = active[4] - target
        parts[2] += param.object_scale * error.square()
        own[4] = param.object_scale * error * active[4] * (1 - active[4])
        classes = active[5:].clone()
        classes[label] -= 1
        parts[0] += param.class_scale * classes.square().sum()
        own[5:] = param.class_scale * classes
