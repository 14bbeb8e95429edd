"""Models in memory: what a worker's thread owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..attribution import KeptForward
from ..classifier import Classifier
from ..detect.object_detector import Detection, ObjectDetector
from ..io.recipe import Frame
from ..net.batch import set_batch
from ..net.beside import build_beside
from ..net.net import Net
from ..pytorch import torch
from ..segmenter import Segmentation, Segmenter

Task = Literal["classes", "areas", "boxes", "maps"]
Crops = NDArray[np.float32]


class _Inside:
    """What is looked at inside a model.

    Looking into the model's own net would undo what it has prepared for batches.
    """

    net: Net

    @cached_property
    def inside(self) -> Net:
        """A net with the same weights for one picture, whose shapes and parameters are shown."""
        net = build_beside(self.net)
        set_batch([net.blobs[name] for name in net.inputs], 1)
        net.reshape()
        return net

    @cached_property
    def kept(self) -> KeptForward:
        """A net with the same weights in which the last picture's forward stays whole."""
        return KeptForward(self.net)

    def forget(self) -> None:
        """Give back what the last picture left inside."""
        vars(self).pop("kept", None)
        self.shown = None

    shown: object = None
    """Whose forward stands in `kept`."""


@dataclass
class Loaded(_Inside):
    """A classifier in memory.

    Attributes
    ----------
    classifier : caffe.Classifier
        What classifies.
    labels : sequence of str or None
        The names of the classes.
    """

    classifier: Classifier
    labels: Sequence[str] | None

    @cached_property
    def task(self) -> Task:
        """What it does: names classes, or makes maps of numbers of which no more is known."""
        shape = self.classifier.blobs[self.classifier.outputs[0]].shape
        return "maps" if len(shape) == 4 and shape[2] * shape[3] > 1 else "classes"

    @property
    def net(self) -> Net:  # type: ignore[override]
        """The model's own net."""
        return self.classifier

    def label(self, index: int) -> str:
        """The name of a class."""
        if self.labels is None or index >= len(self.labels):
            return f"class {index}"
        return self.labels[index]

    @cached_property
    def color(self) -> bool:
        """Whether it takes colour pictures; grey ones otherwise.

        Raises
        ------
        ShapeError
            It takes neither.
        """
        return self.classifier.recipe.color

    def prepare(self, pixels: NDArray[Any], white: float) -> tuple[Crops, Frame | None]:
        """A picture as the net takes it; threads may do so at once."""
        return self.classifier.prepare(pixels, False, white), None

    def inputs(self, crops: Crops, _: Frame | None = None) -> Mapping[str, torch.Tensor]:
        """What the net's inputs hold for a picture."""
        return {self.classifier.inputs[0]: torch.from_numpy(crops)}

    def make_room(self, size: int) -> None:
        """Let so many pictures go through at once."""
        self.classifier.make_room(size)

    def run_once(self) -> None:
        """Run, so that what is needed is prepared, and what is not is given back."""
        self.classifier.make_room(1)
        self.classifier.forward()

    def pixels(self, crops: Crops) -> NDArray[np.uint8]:
        """What the net sees of a picture, upright, H x W x 3 or H x W."""
        seen = self.classifier.transformer.deprocess(self.classifier.inputs[0], crops[0])
        levels = np.clip(np.rint(seen * 255), 0, 255).astype(np.uint8)
        return levels if levels.shape[2] == 3 else levels[:, :, 0]

    @property
    def swap(self) -> Sequence[int] | None:
        """The order of the channels, where it is not that of the picture."""
        return self.classifier.recipe.channel_swap


@dataclass
class LoadedDetector(_Inside):
    """A net in memory that finds objects.

    Attributes
    ----------
    detector : ObjectDetector
        What finds them.
    """

    detector: ObjectDetector
    task: Task = "boxes"
    labels: Sequence[str] | None = None

    @property
    def net(self) -> Net:  # type: ignore[override]
        """The model's own net."""
        return self.detector.net

    @property
    def color(self) -> bool:
        """Whether it takes colour pictures."""
        return True

    def label(self, index: int) -> str:
        """The name of a class."""
        return self.detector.name_of(index)

    def prepare(self, pixels: NDArray[Any], white: float) -> tuple[Crops, Frame | None]:
        """A picture as the net takes it; threads may do so at once."""
        picture = pixels.astype(np.float32) / np.float32(white)
        blob, frame = self.detector.prepare(picture)
        return blob[np.newaxis], frame

    def inputs(self, crops: Crops, frame: Frame | None = None) -> Mapping[str, torch.Tensor]:
        """What the net's inputs hold for a picture."""
        assert frame is not None
        held = self.detector.inputs(crops[0], frame)
        return {name: torch.from_numpy(values) for name, values in held.items()}

    def find(self, crops: Crops, frame: Frame | None, threshold: float) -> list[Detection]:
        """The objects in a picture."""
        assert frame is not None
        return self.detector.detect_prepared(crops[0], frame, threshold)

    def make_room(self, size: int) -> None:
        """Nothing: a detector takes one picture at a time."""

    def run_once(self) -> None:
        """Nothing: how large pictures will be, and what else goes in, is not known yet."""

    @property
    def swap(self) -> Sequence[int] | None:
        """The order of the channels, where it is not that of the picture."""
        return self.detector.preparation.channel_swap


@dataclass
class LoadedSegmenter(_Inside):
    """A net in memory that tells of each place what is there.

    Attributes
    ----------
    segmenter : Segmenter
        What does so.
    """

    segmenter: Segmenter
    task: Task = "areas"

    @property
    def labels(self) -> Sequence[str] | None:
        """The names of the classes."""
        return self.segmenter.names

    @property
    def net(self) -> Net:  # type: ignore[override]
        """The model's own net."""
        return self.segmenter.net

    @property
    def color(self) -> bool:
        """Whether it takes colour pictures; grey ones otherwise."""
        return self.segmenter.preparation.color

    def prepare(self, pixels: NDArray[Any], white: float) -> tuple[Crops, Frame | None]:
        """A picture as the net takes it; threads may do so at once."""
        return self.segmenter.preparation.apply(pixels, white=white), None

    def inputs(self, crops: Crops, _: Frame | None = None) -> Mapping[str, torch.Tensor]:
        """What the net's inputs hold for a picture."""
        return {self.segmenter.input: torch.from_numpy(crops)}

    def segment(self, crops: Crops, size: tuple[int, int]) -> Segmentation:
        """The class of each place; `size` is the width and height of what is wanted."""
        return self.segmenter.segment_prepared(crops, size)

    def make_room(self, size: int) -> None:
        """Nothing: it takes one picture at a time."""

    def run_once(self) -> None:
        """Run, so that what is needed is prepared."""
        self.segmenter.net.forward()

    @property
    def swap(self) -> Sequence[int] | None:
        """The order of the channels, where it is not that of the picture."""
        return self.segmenter.preparation.channel_swap


AnyLoaded = Loaded | LoadedDetector | LoadedSegmenter
