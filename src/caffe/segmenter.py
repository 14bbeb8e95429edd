"""Segmentation: from a picture through the net to a class for each of its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .detect.preparation import settle_preparation
from .errors import CaffeError, NetError, ShapeError
from .guarded import guarded
from .io.annotate import to_picture
from .io.given import Picture, read_given
from .io.labels import read_labels
from .io.recipe import PictureRecipe
from .net.checks import known_blobs
from .net.net import Net
from .paths import PathLike
from .phases import TEST

USUAL_MEAN = (104.0, 117.0, 123.0)
COLORS = 256
"""How many a palette has."""
VEIL = 0.55
"""How much a class's colour counts where it lies over a picture."""
SHOWN = 0.01
"""The least part of a picture that a class must cover to be named beside it."""

Classes = NDArray[np.int32]


@dataclass(frozen=True)
class Area:
    """How much of a picture a class covers.

    Attributes
    ----------
    label : int
        The number of the class.
    name : str
        What it is called; "class 7" where nobody said.
    pixels : int
        How many there are of it.
    share : float
        Their part of the picture, from 0 to 1.
    """

    label: int
    name: str
    pixels: int
    share: float


@dataclass(frozen=True)
class Segmentation:
    """The class of each pixel of a picture.

    Attributes
    ----------
    classes : numpy.ndarray
        Height x width, int32, of the picture's size. -1 is no class.
    names : sequence of str or None
        What the classes are called, in order.
    """

    classes: Classes
    names: Sequence[str] | None = None

    def name_of(self, label: int) -> str:
        """Return what a class is called."""
        named = self.names is not None and 0 <= label < len(self.names)
        return self.names[label] if named and self.names is not None else f"class {label}"

    def areas(self) -> list[Area]:
        """Return how much each class covers that is there, the largest first."""
        labels, counts = np.unique(self.classes[self.classes >= 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [
            Area(
                int(labels[i]),
                self.name_of(int(labels[i])),
                int(counts[i]),
                int(counts[i]) / self.classes.size,
            )
            for i in order
        ]

    def to_image(self) -> Image.Image:
        """Return the classes as a picture with a palette, as PASCAL VOC has them.

        Its pixels are the classes' numbers, its colours those of VOC; no class is 255.

        Raises
        ------
        CaffeError
            A class has a number above 255.
        """
        if self.classes.max(initial=0) >= COLORS:
            raise CaffeError(
                f"a picture with a palette has {COLORS} classes at most; here is class "
                f"{self.classes.max()}"
            )
        image = Image.fromarray(np.where(self.classes < 0, 255, self.classes).astype(np.uint8))
        image.putpalette([part for label in range(COLORS) for part in color_of(label)])
        return image

    def overlay(self, picture: Picture) -> Image.Image:
        """Return the picture with the classes laid over it, and their names below.

        Parameters
        ----------
        picture : Picture
            The one that was segmented.
        """
        given, white = read_given(picture)
        pixels = np.asarray(to_picture(np.divide(given, np.float32(white))), np.float32).copy()
        shown = [area for area in self.areas() if area.share >= SHOWN]
        for area in shown:
            place, color = self.classes == area.label, color_of(area.label)
            if color != (0, 0, 0):
                pixels[place] = (1 - VEIL) * pixels[place] + VEIL * np.array(color)
                pixels[place & ~_inner(place)] = color
        return _with_legend(Image.fromarray(pixels.astype(np.uint8)), shown)


class Segmenter:
    """A net that says of each place in a picture what is there: FCN, SegNet, DeepLab, PSPNet.

    Parameters
    ----------
    net : path, NetParameter or Net
        The net to deploy; its first input takes pictures. It ends in a score for each class and
        place, (1, classes, height, width), or in the classes themselves, (1, 1, height, width).
    weights : path, optional
        The .caffemodel.
    labels : path, sequence of str or {"voc", "camvid", "cityscapes", "ade20k"}, optional
        The names of the classes, in order, with or without the background.
    mean : sequence of float or float, optional
        Subtracted from pixels of 0 to 255, in the net's order; 104, 117, 123 if nothing is said.
    scale : float, optional
        Multiplied after that.
    order : {"bgr", "rgb", "grey"}, optional
        The channels that the net takes; bgr if nothing is said.
    size : (int, int), optional
        Height and width to which pictures are brought; those of the net's input if nothing is
        said. A net without fixed layers takes others, too.
    blob : str, optional
        Which blob holds the scores; the net's largest output of four axes if nothing is said.
    reasons : mapping of str to str, optional
        Where what is said comes from, by the names of these arguments, for `preparation`.

    Attributes
    ----------
    net : caffe.Net
    preparation : caffe.io.recipe.PictureRecipe
        What is done to pictures, and why.
    names : list of str or None

    Raises
    ------
    NetError
        The net does not end in a map of classes.
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
        blob: str | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        self.net = net if isinstance(net, Net) else Net(net, TEST, weights=weights)
        if not self.net.inputs:
            raise NetError("the net has no input to put pictures into; is there a deploy.prototxt?")
        self.input = self.net.inputs[0]
        shape = tuple(self.net.blobs[self.input].shape)
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise ShapeError(
                f"the input '{self.input}' of shape {shape} takes no pictures: it must have "
                "1 or 3 channels, height and width"
            )
        said = {"mean": mean, "scale": scale, "order": order, "size": size}
        self.preparation = settle_preparation(_usual(shape), said, reasons or {})
        if blob is not None:
            known_blobs([blob], self.net.blobs)
        self.blob = blob or _map_of(self.net)
        self.names = None if labels is None else read_labels(labels)
        self._name_background()

    def _name_background(self) -> None:
        channels = self.net.blobs[self.blob].shape[1]
        if self.names is None or channels == 1:
            return
        if len(self.names) == channels - 1:
            self.names = ["background", *self.names]
        if len(self.names) != channels:
            raise CaffeError(
                f"the labels name {len(self.names)} classes, but '{self.blob}' tells {channels} "
                "apart"
            )

    def segment(self, picture: Picture) -> Segmentation:
        """Return the class of each pixel of a picture.

        Parameters
        ----------
        picture : Picture
            A picture's path, its http(s) address, its encoded content (bytes), a file open for
            reading, a `PIL.Image.Image`, or an array, see `caffe.io.given.Picture`.

        Raises
        ------
        ImageError, FetchError
            The picture cannot be read.
        NetError
            What comes out is no map of classes.
        """
        pixels, white = read_given(picture, self.preparation.color)
        height, width = pixels.shape[:2]
        return self.segment_prepared(self.preparation.apply(pixels, white=white), (width, height))

    def segment_prepared(self, blob: NDArray[np.float32], size: tuple[int, int]) -> Segmentation:
        """Return the class of each pixel of a picture that went through `preparation.apply`.

        Parameters
        ----------
        blob : numpy.ndarray
            1 x channels x height x width.
        size : (int, int)
            Width and height of what is returned; those of the picture, or less.

        Raises
        ------
        NetError
            What comes out is no map of classes.
        """
        if tuple(self.net.blobs[self.input].shape) != blob.shape:
            self.net.blobs[self.input].reshape(*blob.shape)
            self.net.reshape()
        self.net.blobs[self.input].data[...] = blob
        scores = self.net.forward(blobs=[self.blob])[self.blob]
        if scores.ndim != 4 or len(scores) != 1:
            raise NetError(f"'{self.blob}' of shape {scores.shape} is no map of one picture")
        return Segmentation(_likeliest(scores[0], size), self.names)


@guarded
def ends_in_map(net: PathLike | Any) -> bool:
    """Say whether a net tells of each place in a picture what is there, as `Segmenter` takes it.

    Parameters
    ----------
    net : path or NetParameter
        No weights are needed.

    Raises
    ------
    CaffeError
        The net cannot be read or built.
    """
    built = Net(net, TEST)
    try:
        blob = _map_of(built)
    except NetError:
        return False
    # One map that is not of the classes' numbers is of something else: edges, another picture.
    maker = [name for name, tops in built.top_names.items() if blob in tops][-1]
    return built.blobs[blob].shape[1] > 1 or built.layer_dict[maker].type == "ArgMax"


def color_of(label: int) -> tuple[int, int, int]:
    """Return a class's colour in PASCAL VOC's palette; black for the background, 0.

    Examples
    --------
    >>> [color_of(label) for label in (0, 1, 2, 15)]
    [(0, 0, 0), (128, 0, 0), (0, 128, 0), (192, 128, 128)]
    """
    # The number's bits go to red, green and blue in turn, the lowest to the highest places.
    parts = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            parts[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    return parts[0], parts[1], parts[2]


def _usual(shape: tuple[int, ...]) -> PictureRecipe:
    size = (shape[2], shape[3])
    if shape[1] == 1:
        grey = PictureRecipe(
            (0.0,), None, input_scale=1 / 255, image_dims=size, crop=None, channels=1
        )
        return grey.because("a net of one channel")
    return PictureRecipe(USUAL_MEAN, image_dims=size, crop=None).because("Caffe's usual")


def _map_of(net: Net) -> str:
    """The output that is a map of classes: the largest of four axes."""
    shapes = {name: tuple(net.blobs[name].shape) for name in net.outputs}
    maps = {name: shape for name, shape in shapes.items() if len(shape) == 4 and shape[0] == 1}
    best = max(maps, key=lambda name: maps[name][2] * maps[name][3], default=None)
    if best is None or maps[best][2] * maps[best][3] == 1:
        told = ", ".join(f"'{name}' {shape}" for name, shape in shapes.items())
        raise NetError(
            f"the net ends in no map of classes, (1, classes, height, width), but in {told}"
        )
    return best


def _likeliest(scores: NDArray[np.float32], size: tuple[int, int]) -> Classes:
    """The class of each pixel; `scores` are (classes, height, width), `size` width and height."""
    if len(scores) == 1:
        # In whole numbers: float32 holds those of any net's classes.
        found = Image.fromarray(scores[0]).resize(size, Image.Resampling.NEAREST)
        return np.asarray(found).astype(np.int32)
    best = np.full(size[::-1], -np.inf, np.float32)
    classes = np.zeros(size[::-1], np.int32)
    for label, place in enumerate(scores):
        # Enlarged before the choice, so that borders are smooth; one by one, for memory's sake.
        large = np.asarray(Image.fromarray(place).resize(size, Image.Resampling.BILINEAR))
        better = large > best
        best[better] = large[better]
        classes[better] = label
    return classes


def _inner(place: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels whose four neighbours are of the same class; those at the edge have fewer."""
    around = np.pad(place, 1, constant_values=True)
    sides = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    return np.asarray(np.all(sides, axis=0))


def _with_legend(picture: Image.Image, areas: Sequence[Area]) -> Image.Image:
    font = ImageFont.load_default(max(13, min(picture.size) // 24))
    line = max(20, min(picture.size) // 15)
    width, height = picture.size
    sheet = Image.new("RGB", (width, height + line * len(areas) + 8), "white")
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, area in enumerate(areas):
        top = height + 4 + number * line
        draw.rectangle((8, top + 4, 8 + line, top + line - 4), fill=color_of(area.label))
        text = f"{area.name}  {area.share:.0%}"
        draw.text((16 + line, top + line / 2), text, fill="black", font=font, anchor="lm")
    return sheet
