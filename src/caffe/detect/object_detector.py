"""Detectors: from a picture through the net and back to boxes in its coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import CaffeError, NetError, ShapeError
from ..guarded import guarded
from ..io.annotate import Mark, draw_marks
from ..io.given import Picture, read_given
from ..io.labels import read_labels
from ..io.recipe import Frame
from ..net.construction import read_model
from ..net.net import Net
from ..paths import PathLike, is_path, path_text
from ..phases import TEST
from .preparation import guess_preparation, settle_preparation

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Detection:
    """An object that was found.

    Attributes
    ----------
    label : int
        The number of its class, as the net counts them.
    name : str
        What the class is called; ``class 7`` where nobody said.
    score : float
        From 0 to 1.
    box : (float, float, float, float)
        xmin, ymin, xmax, ymax in pixels of the picture, (0, 0) being its upper left corner.
    """

    label: int
    name: str
    score: float
    box: tuple[float, float, float, float]


class ObjectDetector:
    """A net that finds objects.

    Nets may end in a layer of detections (DetectionOutput, YoloDetectionOutput,
    Yolov3DetectionOutput, Region), in the maps of YOLO v2 or v3, in what Faster R-CNN and
    R-FCN give for each region (cls_prob, bbox_pred and rois, with im_info as an input), or in
    boxes and scores, as UltraFace does.

    How pictures go in is not written in a prototxt. It is guessed from the kind of net, see
    `preparation`, and can be said instead.

    Parameters
    ----------
    net : path or NetParameter
        The net to deploy; its first input takes pictures.
    weights : path, optional
        The .caffemodel.
    labels : path, sequence of str or {"voc", "coco"}, optional
        The names of the classes, with or without the background: a file of one per line, or SSD's
        label map.
    mean : sequence of float, optional
        Subtracted from pixels of 0 to 255: one number, or one for each channel in the net's
        order.
    scale : float, optional
        Multiplied after that.
    order : {"bgr", "rgb", "grey"}, optional
        The channels that the net takes.
    size : (int, int), optional
        Height and width to which pictures are brought; for R-CNNs the shorter side and the most
        that the longer may have.
    fit : {"stretch", "letterbox"}, optional
        Whether a picture is stretched to the size, or keeps its form amid grey bars.
    anchors : sequence of float, optional
        For YOLO's maps: widths and heights in turn; in cells of the map (v2) or pixels (v3).
    reasons : mapping of str to str, optional
        Where what is said comes from, by the names of these arguments, for `preparation`.

    Attributes
    ----------
    net : caffe.Net
    preparation : caffe.io.recipe.PictureRecipe
        What is done to pictures, and why.
    names : list of str or None
    anchors : sequence of float or None
        What was said of them.

    Raises
    ------
    NetError
        The net does not end in boxes.
    CaffeError
        The labels do not fit the net, or a file cannot be read.
    """

    def __init__(
        self,
        net: PathLike | Any,
        weights: PathLike | None = None,
        labels: PathLike | Sequence[str] | None = None,
        *,
        mean: Sequence[float] | float | None = None,
        scale: float | None = None,
        order: str | None = None,
        size: Sequence[int] | None = None,
        fit: str | None = None,
        anchors: Sequence[float] | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        from .heads import find_head

        _, param = read_model(net)
        self.net = Net(net, TEST, weights=weights)
        if not self.net.inputs:
            raise NetError(
                f"{_named(net)} has no input to put pictures into; is there a deploy.prototxt?"
            )
        self.input = self.net.inputs[0]
        shape = tuple(self.net.blobs[self.input].shape)
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise ShapeError(
                f"the input '{self.input}' of shape {shape} takes no pictures: it must have "
                "1 or 3 channels, height and width"
            )
        self.anchors = anchors
        self.head = find_head(self.net, param, anchors)
        self.preparation = settle_preparation(
            guess_preparation(param, self.head.kind, shape),
            {"mean": mean, "scale": scale, "order": order, "size": size, "fit": fit},
            reasons or {},
        )
        self.names = self.head.names if labels is None else read_labels(labels)
        self._check_names()

    def _check_names(self) -> None:
        if self.names is None or self.head.classes is None:
            return
        counts = {self.head.classes, self.head.classes - self.head.background}
        if len(self.names) not in counts:
            wanted = " or ".join(map(str, sorted(counts)))
            raise CaffeError(
                f"the labels name {len(self.names)} classes, but the net tells {wanted} apart"
            )

    def name_of(self, label: int) -> str:
        """Return what a class is called."""
        if self.names is not None:
            classes = self.head.classes or len(self.names) + self.head.background
            index = label - (self.head.background if len(self.names) < classes else 0)
            if 0 <= index < len(self.names):
                return self.names[index]
        return f"class {label}"

    def classes(self) -> dict[int, str]:
        """Return the names of the classes by their numbers, where it is known how many there are.

        The background is none of them.
        """
        count = self.head.classes
        if count is None:
            if self.names is None:
                return {}
            count = len(self.names) + self.head.background
        return {label: self.name_of(label) for label in range(self.head.background, count)}

    def detect(
        self,
        image: Picture,
        threshold: float = 0.5,
    ) -> list[Detection]:
        """Find objects in a picture.

        Parameters
        ----------
        image : Picture
            A picture's path, its http(s) address, its encoded content (bytes), a file open for
            reading, a `PIL.Image.Image`, or an array: H x W x 3 in RGB order, floats in [0, 1] as
            ``caffe.io.load_image`` gives them, or bytes in 0..255.
        threshold : float
            The least score.

        Returns
        -------
        list of Detection
            The best first.

        Raises
        ------
        ImageError
            The picture cannot be read.
        ShapeError
            The array is no picture.
        """
        return self.detect_prepared(*self.prepare(as_picture(image)), threshold)

    def detect_prepared(self, blob: Array, frame: Frame, threshold: float = 0.5) -> list[Detection]:
        """Find objects in a picture that went through `prepare`; see `detect`."""
        self._feed(blob, frame)
        self.net.forward()
        labels, scores, boxes = self.head.read(self.net, blob.shape[1:], threshold)
        boxes = frame.back(boxes)
        whole = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (scores >= threshold)
        order = [int(i) for i in np.argsort(-scores, kind="stable") if whole[i]]
        return [
            Detection(
                int(labels[i]),
                self.name_of(int(labels[i])),
                float(scores[i]),
                (float(boxes[i, 0]), float(boxes[i, 1]), float(boxes[i, 2]), float(boxes[i, 3])),
            )
            for i in order
        ]

    def prepare(self, picture: Array) -> tuple[Array, Frame]:
        """Return a picture as the net takes it, (channels, height, width), and where it lies.

        Parameters
        ----------
        picture : array
            H x W x 3, RGB, 0 to 1.
        """
        height, width = picture.shape[:2]
        return self.preparation.apply(picture)[0], self.preparation.frame(height, width)

    def _feed(self, blob: Array, frame: Frame) -> None:
        net = self.net
        wanted = (1, *blob.shape)
        if tuple(net.blobs[self.input].shape) != wanted:
            net.blobs[self.input].reshape(*wanted)
            net.reshape()
        for name, values in self.inputs(blob, frame).items():
            net.blobs[name].data[...] = values

    def inputs(self, blob: Array, frame: Frame) -> dict[str, Array]:
        """Return what each of the net's inputs holds for a picture that went through `prepare`.

        Raises
        ------
        NetError
            The net has an input that no picture can fill.
        """
        held = {self.input: blob[np.newaxis]}
        for name in self.net.inputs[1:]:
            if name != "im_info":
                raise NetError(f"the net has an input '{name}' that no picture can fill")
            shape = tuple(self.net.blobs[name].shape)
            # Height, width, and by what the picture was enlarged; some nets take both factors.
            numbers = [blob.shape[1], blob.shape[2], frame.scale[0], frame.scale[1]]
            held[name] = np.resize(numbers[: int(np.prod(shape))], shape).astype(np.float32)
        return held


@guarded
def as_picture(image: Picture) -> Array:
    """Return a picture as H x W x 3 floats from 0 to 1, RGB; see `ObjectDetector.detect`."""
    pixels, white = read_given(image)
    picture: Array = np.divide(pixels, np.float32(white), dtype=np.float32)
    return picture


@guarded
def draw(image: Picture, found: Sequence[Detection]) -> Image.Image:
    """Return the picture with boxes, names and scores drawn into it.

    Parameters
    ----------
    image : Picture
        As `ObjectDetector.detect` takes it.
    found : sequence of Detection
        The best first.
    """
    marks = [Mark(d.box, f"{d.name} {d.score:.2f}", d.label) for d in found]
    return draw_marks(as_picture(image), marks)


def _named(net: Any) -> str:
    name = path_text(net) if is_path(net) else "{"
    return "the net" if "{" in name else f"'{name}'"
