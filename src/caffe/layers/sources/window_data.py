"""WindowData: windows of pictures, some with an object and some with background (R-CNN)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import (
    NetError,
    ParseError,
    ShapeError,
    unreadable,
)
from ...io.pictures import read_content
from ...proto.caffe_pb2 import TransformationParameter, WindowDataParameter
from ...proto.contents import open_lines
from ..layer import register
from .bgr_pictures import BgrPicture, read_picture, resize_picture
from .data_transformer import DataTransformer, random_source, read_mean
from .entries import Sample, Source, naming
from .prefetching import PrefetchingLayer
from .transform_fields import refuse

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels, the last ones inside."""


READ = (
    "scale",
    "mirror",
    "crop_size",
    "mean_file",
    "mean_value",
    "random_seed",
    # Windows are read in colour.
    "force_color",
    "use_gpu_transform",
    "debug_params",
)
"""What transform_param may say: all but the scale count, or say nothing of values."""


@dataclass(frozen=True)
class Window:
    """A part of a picture."""

    image: int
    label: int
    overlap: float
    box: Box


def read_windows(path: str) -> tuple[list[str], list[Window]]:
    """Read a window file.

    For each picture it holds ``# index``, path, channels, height, width, the number of windows,
    and for each window ``class overlap x1 y1 x2 y2``.

    Returns
    -------
    images : list of str
        The pictures' paths.
    windows : list of Window
        `image` counts from 0 in the file's order.

    Raises
    ------
    ParseError
        The file cannot be read or is of another form.
    """
    try:
        with open_lines(path) as file:
            lines = [(number, line.split()) for number, line in enumerate(file, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(f"a window file was expected: {error}", path, error) from error
    words = iter([(number, word) for number, line in lines for word in line])
    images: list[str] = []
    windows: list[Window] = []
    number = None
    try:
        for number, word in words:
            if word != "#":
                raise ValueError(f"'#' was expected, not '{word}'")
            number, index = next(words)
            if int(index) != len(images):
                raise ValueError(f"picture {len(images)} was expected, not {index}")
            images.append(next(words)[1])
            number, channels = next(words)
            if int(channels) != 3:
                raise ValueError(f"a picture is read with 3 channels, but it says {channels}")
            next(words), next(words)
            for _ in range(int(next(words)[1])):
                number, label = next(words)
                # In single precision, as the thresholds are.
                overlap = float(np.float32(next(words)[1]))
                x1, y1, x2, y2 = (int(float(next(words)[1])) for _ in range(4))
                windows.append(Window(len(images) - 1, int(label), overlap, (x1, y1, x2, y2)))
    except (ValueError, StopIteration, RuntimeError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it ends in the middle"
        raise ParseError(f"not a window file: {reason}", path, number) from error
    if not windows:
        raise ParseError("the window file holds no windows", path)
    return images, windows


def expand_box(
    box: Box, size: tuple[int, int], crop: int, pad: int, square: bool
) -> tuple[Box, tuple[int, int], tuple[int, int, int]]:
    """Widen a window by its context, as far as the picture goes.

    Parameters
    ----------
    box : Box
        The window.
    size : (int, int)
        The picture's height and width.
    crop : int
        The side of the square that the window is warped to.
    pad : int
        How many pixels of that square on each side are context.
    square : bool
        Take a square around the window.

    Returns
    -------
    box : Box
        What to cut out.
    warped : (int, int)
        The height and width to warp it to.
    offset : (int, int, int)
        Where in the square that goes: from the top, the left, and, mirrored, from the left.
    """
    x1, y1, x2, y2 = box
    single = np.float32
    scale = single(crop) / single(crop - 2 * pad)
    half_height, half_width = single(y2 - y1 + 1) / single(2), single(x2 - x1 + 1) / single(2)
    center_x, center_y = single(x1) + half_width, single(y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(center_x - half_width * scale), _round(center_x + half_width * scale)
    y1, y2 = _round(center_y - half_height * scale), _round(center_y + half_height * scale)
    scale_x, scale_y = single(crop) / single(x2 - x1 + 1), single(crop) / single(y2 - y1 + 1)
    left, top = max(0, -x1), max(0, -y1)
    right, bottom = max(0, x2 - size[1] + 1), max(0, y2 - size[0] + 1)
    x1, y1, x2, y2 = x1 + left, y1 + top, x2 - right, y2 - bottom
    height, width = _round((y2 - y1 + 1) * scale_y), _round((x2 - x1 + 1) * scale_x)
    offset = (_round(top * scale_y), _round(left * scale_x), _round(right * scale_x))
    return (x1, y1, x2, y2), (height, width), offset


def _round(value: np.float32) -> int:
    """Round halves away from zero, as C does."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


class WindowSampler(Source[Window]):
    """Windows drawn at random, in batches: background first, then objects.

    Parameters
    ----------
    param : WindowDataParameter
        The layer's.
    transform : TransformationParameter
        Of which mean, crop, mirror and seed count; the scale is `param.scale`, as in Caffe.
    """

    # They are drawn at random, a batch at a time.
    interleaves = False

    def __init__(self, param: WindowDataParameter, transform: TransformationParameter) -> None:
        self.param = param
        others = set(transform.DESCRIPTOR.fields_by_name) - set(READ)
        refuse(transform, others, "WindowData does not do it: take it out")
        self.crop: int = transform.crop_size
        if self.crop <= 2 * param.context_pad:
            raise NetError(
                f"transform_param.crop_size ({self.crop}) must be above 0 and more than twice "
                f"window_data_param.context_pad ({param.context_pad})"
            )
        self.batch_size = param.batch_size
        self.shape = (3, self.crop, self.crop)
        self._random = random_source(transform.random_seed)
        self._mirror: bool = transform.mirror
        self._mean = self._read_mean(transform)
        images, windows = read_windows(param.source)
        self._images = [param.root_folder + image for image in images]
        self._objects = [w for w in windows if w.overlap >= param.fg_threshold]
        self._background = [
            Window(w.image, 0, 0.0, w.box)
            for w in windows
            if w.overlap < min(param.fg_threshold, param.bg_threshold)
        ]
        for window in self._objects:
            if window.label <= 0:
                raise ParseError(
                    f"a window of picture {window.image} overlaps its object by {window.overlap}, "
                    f"but its class is {window.label}: objects count from 1",
                    param.source,
                )
        if not self._objects or not self._background:
            raise ParseError(
                f"{len(self._objects)} windows have an overlap of at least fg_threshold "
                f"{param.fg_threshold:g} and {len(self._background)} one below bg_threshold "
                f"{param.bg_threshold:g}, but some of each are needed",
                param.source,
            )
        self._contents: dict[int, bytes] = {}

    def _read_mean(self, transform: TransformationParameter) -> NDArray[np.float32]:
        """The mean below the square, or one value per channel."""
        if not transform.HasField("mean_file"):
            mean = np.array(transform.mean_value or [0], np.float32)
            if len(mean) not in (1, 3):
                raise NetError(f"there are {len(mean)} mean_values: give one, or three")
            return np.broadcast_to(mean.reshape(-1, 1, 1), self.shape)
        mean = read_mean(transform.mean_file)
        offset = max(0, (mean.shape[2] - self.crop) // 2)
        mean = mean[:, offset : offset + self.crop, offset : offset + self.crop]
        if mean.shape != self.shape:
            raise ShapeError(
                f"the mean in {transform.mean_file} is too small for crops of {self.shape} "
                "(channels, height, width)"
            )
        return mean

    def entries(self) -> Iterator[Window]:
        objects = int(np.float32(self.batch_size) * np.float32(self.param.fg_fraction))
        kinds = ((self._background, self.batch_size - objects), (self._objects, objects))
        while True:
            # A batch's windows are drawn before it is told which of them are mirrored.
            yield from [
                kind[int(self._random.integers(len(kind)))]
                for kind, count in kinds
                for _ in range(count)
            ]

    def describe(self, entry: Window) -> str:
        box = " ".join(map(str, entry.box))
        return f"{self.param.source}: picture {entry.image}, window {box}"

    def read(self, entry: Window) -> Sample:
        mirrored = self._mirror and bool(self._random.integers(2))
        picture = self._picture(entry.image)
        return self._warp(picture, entry.box, mirrored), np.float32(entry.label)

    def _picture(self, image: int) -> BgrPicture:
        path = self._images[image]
        if not self.param.cache_images:
            return read_picture(path)
        if image not in self._contents:
            self._contents[image] = read_content(path)
        with naming(path):
            return read_picture(self._contents[image])

    def _warp(self, picture: BgrPicture, box: Box, mirrored: bool) -> NDArray[np.float32]:
        top = left = 0
        height = width = self.crop
        square = self.param.crop_mode == "square"
        if self.param.context_pad or square:
            box, (height, width), offset = expand_box(
                box, picture.shape[1:], self.crop, self.param.context_pad, square
            )
            top, left = offset[0], offset[2 if mirrored else 1]
            height, width = min(height, self.crop - top), min(width, self.crop - left)
        x1, y1, x2, y2 = box
        inside = 0 <= x1 <= x2 < picture.shape[2] and 0 <= y1 <= y2 < picture.shape[1]
        if not inside or height <= 0 or width <= 0:
            raise ShapeError(
                f"the window is empty or not inside the picture of {picture.shape[1]} x "
                f"{picture.shape[2]} (height, width)"
            )
        warped = resize_picture(picture[:, y1 : y2 + 1, x1 : x2 + 1], height, width)
        if mirrored:
            warped = warped[:, :, ::-1]
        result = np.zeros(self.shape, np.float32)
        place = (slice(None), slice(top, top + height), slice(left, left + width))
        result[place] = (warped - self._mean[place]) * np.float32(self.param.scale)
        return result


@register("WindowData")
class WindowData(PrefetchingLayer[WindowDataParameter]):
    """Windows of the file `source`, warped to squares of `crop_size`, with their classes.

    The share `fg_fraction` of each batch overlaps an object; the rest has the label 0.
    """

    message = "window_data_param"
    passed_over: ClassVar[Mapping[str, str]] = {
        "scale": "as in Caffe: say scale in window_data_param"
    }

    def open_source(self, transformer: DataTransformer) -> WindowSampler:
        return WindowSampler(self.param, transformer.param)
