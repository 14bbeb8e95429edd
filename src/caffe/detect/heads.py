"""How nets that find objects end, and how boxes are read from there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError, NetError
from ..guarded import guarded
from ..layers.convolution import Convolution
from ..layers.detection.boxes import CENTER_SIZE, decode, non_maximum_suppression
from ..layers.detection.detection_output import GivesDetections
from ..layers.detection.yolo import read_maps
from ..layers.layer import Layer
from ..layers.registry import registry
from ..net.construction import read_model
from ..net.net import Net
from ..paths import PathLike
from ..phases import TEST
from ..proto.caffe_pb2 import NetParameter
from ..pytorch import torch
from .preparation import MAPS, OFFSETS, REGIONS, ROWS

Array = NDArray[np.float32]
Found = tuple[NDArray[np.int64], Array, Array]
"""Labels (N), scores (N), and boxes (N, 4) in pixels of the input."""

OVERLAP = {MAPS: 0.45, REGIONS: 0.3, OFFSETS: 0.3}
"""How much boxes of one class may overlap, where the net leaves the thinning out to others."""

# Widths and heights that boxes start from, as darknet's configurations give them: in cells of
# the map for v2 (VOC and COCO), in pixels for v3 (three maps) and v3-tiny (two).
V2_VOC = (1.3221, 1.73145, 3.19275, 4.00944, 5.05587, 8.09892, 9.47112, 4.84053, 11.2364, 10.0071)
V2_COCO = (
    0.57273, 0.677385, 1.87446, 2.06253, 3.33843, 5.47434, 7.88282, 3.52778, 9.77052, 9.16828,
)  # fmt: skip
V3 = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
V3_TINY = (10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319)

ULTRAFACE = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}
"""UltraFace's squares: their sides in pixels, by how far apart their middles are."""
ULTRAFACE_VARIANCES = (0.1, 0.1, 0.2, 0.2)


class Head:
    """How a net ends.

    Attributes
    ----------
    kind : str
        "rows", "maps", "regions" or "offsets".
    classes : int or None
        How many labels there are, the background among them if there is one.
    background : int
        1 if label 0 is the background, else 0.
    """

    kind: str
    classes: int | None
    background: int
    names: list[str] | None = None
    """What the classes are called where nobody says."""

    def read(self, net: Net, size: Sequence[int], threshold: float) -> Found:
        """Return what the net's last forward found in an input of this height and width."""
        raise NotImplementedError


class Rows(Head):
    """A blob (1, 1, N, 7) of image, label, score and corners in parts of the input."""

    kind = ROWS

    def __init__(self, blob: str, classes: int | None, background: int) -> None:
        self.blob, self.classes, self.background = blob, classes, background

    def read(self, net: Net, size: Sequence[int], threshold: float) -> Found:
        rows = net.blobs[self.blob].data.reshape(-1, 7)
        # A row of -1 says that there is nothing in a picture.
        rows = rows[(rows[:, 1] >= 0) & (rows[:, 2] >= threshold)]
        height, width = size
        boxes = rows[:, 3:] * np.array([width, height, width, height], np.float32)
        return rows[:, 1].astype(np.int64), rows[:, 2].copy(), boxes


class YoloMaps(Head):
    """YOLO's maps, before any activation: v2's one, or v3's two or three."""

    kind = MAPS
    background = 0

    def __init__(self, blobs: Sequence[str], channels: int, anchors: Sequence[float]) -> None:
        self.blobs = blobs
        self.anchors = np.array(anchors, np.float32).reshape(-1, 2)
        self.boxes = len(self.anchors) // len(blobs)
        if not self.boxes or len(anchors) % (2 * len(blobs)) or channels % self.boxes:
            raise NetError(
                f"{len(anchors)} anchors (width and height each) do not fit {len(blobs)} map(s) "
                f"of {channels} channels"
            )
        self.classes = channels // self.boxes - 5
        if self.classes < 1:
            raise NetError(f"{channels} channels are too few for {self.boxes} boxes with classes")

    def read(self, net: Net, size: Sequence[int], threshold: float) -> Found:
        height, width = size
        # The coarsest map has the largest boxes.
        maps = [torch.from_numpy(net.blobs[name].data[:1]) for name in self.blobs]
        maps.sort(key=lambda x: -x.shape[2])
        every = []
        for i, x in enumerate(maps):
            own = self.anchors[i * self.boxes : (i + 1) * self.boxes]
            whole = (x.shape[3], x.shape[2]) if len(maps) == 1 else (width, height)
            every.append(
                read_maps(x, self.boxes, torch.from_numpy(own / np.array(whole, np.float32)))
            )
        boxes = torch.cat([b[0] for b, _ in every])
        raw = torch.cat([s[0] for _, s in every])
        classes = raw[:, 1:].softmax(1) if len(maps) == 1 else raw[:, 1:].sigmoid()
        scores = raw[:, :1].sigmoid() * classes
        boxes = boxes * boxes.new_tensor([width, height, width, height])
        return by_class(boxes[:, None].expand(-1, scores.shape[1], 4), scores, threshold, MAPS)


class Regions(Head):
    """R-CNN's regions: rois, what they show (cls_prob), and how they move (bbox_pred)."""

    kind = REGIONS
    background = 1

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def read(self, net: Net, size: Sequence[int], threshold: float) -> Found:
        blobs = (net.blobs[name].data for name in ("rois", "cls_prob", "bbox_pred"))
        rois, scores, moved = (torch.from_numpy(blob.reshape(len(blob), -1)) for blob in blobs)
        if not len(rois) == len(scores) == len(moved):
            raise CaffeError(
                f"rois, cls_prob and bbox_pred must have a row for each region, but they have "
                f"{len(rois)}, {len(scores)} and {len(moved)}"
            )
        # Regions reach over their last pixel.
        corners = rois[:, None, 1:5] + rois.new_tensor([0, 0, 1, 1])
        offsets = moved.reshape(len(moved), -1, 4)
        if offsets.shape[1] == 2:  # R-FCN: the background's, and one for all other classes
            offsets = offsets[:, 1:]
        boxes = decode(offsets, corners, CENTER_SIZE)
        height, width = size
        last = boxes.new_tensor([width, height, width, height])
        boxes = torch.minimum(boxes, last).clamp(min=0).expand(-1, scores.shape[1], 4)
        labels, kept, found = by_class(boxes[:, 1:], scores[:, 1:], threshold, REGIONS)
        return labels + 1, kept, found


class Proposals(Head):
    """A region proposal net alone: rois, and how sure it is of each (scores, if there are any)."""

    kind = REGIONS
    classes = 2
    background = 1

    def __init__(self) -> None:
        self.names = ["object"]

    def read(self, net: Net, size: Sequence[int], threshold: float) -> Found:
        rois = net.blobs["rois"].data.reshape(-1, 5)
        scores = np.ones(len(rois), np.float32)
        if "scores" in net.blobs:
            scores = net.blobs["scores"].data.reshape(-1).copy()
        boxes = rois[:, 1:] + np.array([0, 0, 1, 1], np.float32)
        return np.ones(len(rois), np.int64), scores, boxes


class BoxesAndScores(Head):
    """Tops "boxes" (N, P, 4) and "scores" (N, P, classes), the background being class 0.

    Boxes are corners in parts of the input, unless they come right out of convolutions: then
    they are offsets from UltraFace's squares (Linzaer, 2019).
    """

    kind = OFFSETS
    background = 1

    def __init__(self, classes: int, decoded: bool) -> None:
        self.classes, self.decoded = classes, decoded
        self.names = ["face"] if classes == 2 and not decoded else None

    def read(self, net: Net, size: Sequence[int], threshold: float) -> Found:
        boxes = torch.from_numpy(net.blobs["boxes"].data[:1].reshape(-1, 4))
        scores = torch.from_numpy(net.blobs["scores"].data[:1].reshape(-1, self.classes or 1))
        if not self.decoded:
            squares = torch.from_numpy(ultraface_squares(*size))
            if len(squares) != len(boxes):
                raise CaffeError(
                    f"an input of {size[0]} x {size[1]} has {len(squares)} of UltraFace's squares, "
                    f"but the net gives {len(boxes)} boxes: where theirs are is not known"
                )
            offsets = boxes * boxes.new_tensor(ULTRAFACE_VARIANCES)
            boxes = decode(offsets, squares, CENTER_SIZE)
        height, width = size
        boxes = boxes * boxes.new_tensor([width, height, width, height])
        every = boxes[:, None].expand(-1, scores.shape[1] - 1, 4)
        labels, kept, found = by_class(every, scores[:, 1:], threshold, OFFSETS)
        return labels + 1, kept, found


def ultraface_squares(height: int, width: int) -> Array:
    """Return UltraFace's squares for an input of this size, (P, 4) corners in parts of it."""
    every = []
    for step, sides in ULTRAFACE.items():
        rows, columns = -(-height // step), -(-width // step)
        y, x, side = np.meshgrid(np.arange(rows), np.arange(columns), sides, indexing="ij")
        # A square larger than the input is as large as the input.
        center = np.stack([(x + 0.5) * step / width, (y + 0.5) * step / height], -1).clip(max=1)
        half = np.stack([side / width, side / height], -1).clip(max=1) / 2
        every.append(np.concatenate([center - half, center + half], -1).reshape(-1, 4))
    return np.concatenate(every).astype(np.float32)


def by_class(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, kind: str) -> Found:
    """Return the boxes (N, classes, 4) of sufficient score, those of a class thinned out."""
    labels, best, found = [], [], []
    for label in (scores >= threshold).any(0).nonzero()[:, 0].tolist():
        which = (scores[:, label] >= threshold).nonzero()[:, 0]
        which = which[scores[which, label].argsort(descending=True, stable=True)]
        own = boxes[which, label]
        kept = non_maximum_suppression(own, OVERLAP[kind])
        labels.append(np.full(len(kept), label))
        best.append(scores[which[kept], label].numpy())
        found.append(own[kept].numpy())
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, 4), np.float32)
    return np.concatenate(labels), np.concatenate(best), np.concatenate(found)


@guarded
def ends_in_boxes(net: PathLike | NetParameter) -> bool:
    """Say whether a net finds objects in pictures, as `ObjectDetector` takes it.

    Parameters
    ----------
    net : path or NetParameter
        No weights are needed.

    Raises
    ------
    CaffeError
        The net cannot be read or built.
    """
    _, param = read_model(net)
    built = Net(net, TEST)
    try:
        find_head(built, param, None)
    except NetError:
        return False
    shape = built.blobs[built.inputs[0]].shape if built.inputs else ()
    return len(shape) == 4 and shape[1] in (1, 3)


def find_head(net: Net, param: NetParameter, anchors: Sequence[float] | None) -> Head:
    """Say how a net ends.

    Raises
    ------
    NetError
        In nothing that boxes can be read from; the text says in what instead.
    """
    makers = _makers(net)
    for blob in reversed(list(makers)):
        layer = makers[blob]
        if isinstance(layer, GivesDetections) and blob == layer.layer_param.top[0]:
            return Rows(blob, layer.labels, layer.background)
    if {"rois", "cls_prob", "bbox_pred"} <= set(net.blobs):
        scores = net.blobs["cls_prob"].data
        return Regions(scores.shape[1] if scores.ndim > 1 else scores.size)
    if "rois" in net.outputs and "im_info" in net.inputs:
        return Proposals()
    if {"boxes", "scores"} <= set(net.outputs):
        boxes, classes = (tuple(net.blobs[name].shape) for name in ("boxes", "scores"))
        if len(boxes) == len(classes) == 3 and boxes == (*classes[:2], 4) and classes[2] > 1:
            return BoxesAndScores(classes[2], not _is_raw("boxes", makers))
    maps = [name for name in net.outputs if isinstance(makers.get(name), Convolution)]
    shapes = [tuple(net.blobs[name].shape) for name in maps]
    channels = {shape[1] for shape in shapes if len(shape) == 4}
    if len(maps) == len(net.outputs) <= 3 and len(channels) == 1:
        count = channels.pop()
        defaults = {1: V2_COCO if count == 425 else V2_VOC, 2: V3_TINY, 3: V3}
        chosen = defaults[len(maps)] if anchors is None else anchors
        if anchors is not None or count % (len(chosen) // 2 // len(maps)) == 0:
            return YoloMaps(maps, count, chosen)
    ends = ", ".join(f"{name} ({makers[name].type})" for name in net.outputs if name in makers)
    rows = [name for name, layer in registry().items() if issubclass(layer, GivesDetections)]
    raise NetError(
        f"the net does not end in boxes but in {ends or 'its inputs'}; it must end in "
        f"{', '.join(rows)}, in YOLO's maps, in rois, cls_prob and bbox_pred, or in boxes and "
        "scores"
    )


def _is_raw(blob: str, makers: dict[str, Layer]) -> bool:
    """Whether a blob's numbers are those of convolutions, only put elsewhere."""
    layer = makers.get(blob)
    if layer is None or not layer.rearranges:
        return isinstance(layer, Convolution)
    return all(_is_raw(bottom, makers) for bottom in layer.layer_param.bottom)


def _makers(net: Net) -> dict[str, Layer]:
    """The layer that wrote each blob last, in the layers' order."""
    found: dict[str, Layer] = {}
    for layer in net.layers:
        if isinstance(layer, Layer):
            for top in layer.layer_param.top:
                found.pop(top, None)
                found[top] = layer
    return found
