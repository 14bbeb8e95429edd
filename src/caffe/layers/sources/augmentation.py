"""What training changes in pictures by chance, so that a net sees more than there are.

The fields of `transform_param` are those of forks: caffe-augmentation's sides, angles, contrast,
blur and colours, NVIDIA's resizing by chance, SSD's resize_param, distort_param and noise_param;
cutout and random erasing have fields of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import NetError, ShapeError
from ...phases import TRAIN
from ...proto.caffe_pb2 import TransformationParameter
from .bgr_pictures import resize_picture, to_bytes
from .blurring import box, gauss, median
from .boxed_pictures import BoxedPicture, distort, resize, resized_size
from .noise import Noise
from .random_resize import RandomResize
from .transform_fields import check_values

Picture = NDArray[np.uint8]

ERASING_TRIALS = 10
"""How often a rectangle is drawn anew that does not fit the picture."""


class Augmentation:
    """Changes pictures by chance, in this order.

    Moved: brought to resize_param's size, as in SSD; turned by a whole angle of up to
    max_rotation_angle degrees either way, on a canvas that holds all of it and is black beside it;
    then resized, so that the shorter side is min_side, or one of min_side_min to min_side_max; then
    as `RandomResize` says. Disturbed, before the crop: distort_param, then `Noise`, as in SSD.
    Colored, each with apply_probability: max_color_shift adds to each channel a number of its own
    from 0 to it, or subtracts them all; contrast_adjustment makes x into
    ``contrast x + shift`` with contrast from min_contrast to max_contrast and a whole shift of up
    to max_brightness_shift either way; smooth_filtering blurs with a Gauss, a box, a median, or a
    box twice as large, of 1, 3, ... pixels below max_smooth. Erased: a square of cutout_size around
    any pixel, and with erase_prob a rectangle of erase_min_area to erase_max_area of the picture
    (Zhong et al., 2020), become the mean.

    At TEST only min_side, resize_param, NVIDIA's resizing and noise_param do anything, as in SSD.
    The random numbers are the layer's, so that a training which goes on from a snapshot goes on
    with them.

    Parameters
    ----------
    param : TransformationParameter
        What the text says.
    phase : int
        caffe.TRAIN or caffe.TEST.
    random : Generator
        Where the chance comes from.

    Raises
    ------
    NetError
        The fields do not go together.
    """

    def __init__(
        self, param: TransformationParameter, phase: int, random: np.random.Generator
    ) -> None:
        check_values(param)
        self.param = param
        self._random = random
        self._is_on = phase == TRAIN
        self._sides = self._range_of_sides()
        self._random_resize = RandomResize(param, random)
        self._turns = bool(self._is_on and param.max_rotation_angle)
        self._moves = bool(
            self._sides
            or self._turns
            or self._random_resize.is_on
            or param.HasField("resize_param")
        )
        varies = self._random_resize.varies or (
            self._sides is not None and self._sides[0] != self._sides[1]
        )
        self._noise = Noise(param.noise_param)
        if (varies or self._turns) and not (param.crop_size or param.crop_h):
            raise NetError("pictures of sizes drawn by chance need crop_size", word="crop_size")

    def _range_of_sides(self) -> tuple[int, int] | None:
        param = self.param
        found = []
        if param.min_side:
            found.append((param.min_side, param.min_side))
        if self._is_on and param.min_side_min and param.min_side_max:
            found.append((param.min_side_min, param.min_side_max))
        if not found:
            return None
        # As in caffe-augmentation the last one decides.
        least, most = found[-1]
        if not 0 < least <= most:
            raise NetError(f"the shorter side cannot be from {least} to {most}")
        return least, most

    @property
    def moves(self) -> bool:
        """Whether pictures are turned or resized."""
        return self._moves

    def least_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the least height and width that a picture comes out with."""
        if not height or not width:
            return height, width
        if self.param.HasField("resize_param"):
            brought = resized_size(height, width, self.param.resize_param)
            # Where it is done by chance both may be.
            height, width = (
                brought
                if self.param.resize_param.prob >= 1
                else (min(height, brought[0]), min(width, brought[1]))
            )
        if self._sides is not None:
            height, width = _with_shorter_side(height, width, self._sides[0])
        return self._random_resize.least_size(height, width)

    def moved(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Turn and resize a picture (channels x height x width).

        Raises
        ------
        ShapeError
            Its numbers are no bytes.
        """
        if not self._moves:
            return picture
        _check_bytes(picture)
        picture = resize(_boxless(picture), self.param, self._random).pixels
        most = self.param.max_rotation_angle if self._is_on else 0
        angle = int(self._random.integers(-most, most + 1)) if most else 0
        if angle:
            picture = _turned(picture, angle)
        if self._sides is not None:
            least, most = self._sides
            side = least if least == most else int(self._random.integers(least, most + 1))
            height, width = picture.shape[1:]
            picture = resize_picture(picture, *_with_shorter_side(height, width, side))
        return self._random_resize(picture)

    def disturbed(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Do to a whole picture, before it is cut, what SSD's distort_param and noise_param say.

        Raises
        ------
        ShapeError
            Its numbers are no bytes, or it has other channels than these take.
        """
        if self._is_on and self.param.HasField("distort_param"):
            _check_bytes(picture)
            picture = distort(_boxless(picture), self.param.distort_param, self._random).pixels
        return self._noise(picture, self._random)

    def colored(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Change a picture's colours, contrast and sharpness.

        Raises
        ------
        ShapeError
            Its numbers are no bytes.
        """
        param, random = self.param, self._random
        adjusts = param.contrast_adjustment or param.contrast_brightness_adjustment
        smooths = param.smooth_filtering and param.max_smooth > 1
        if not self._is_on or not (param.max_color_shift or adjusts or smooths):
            return picture
        _check_bytes(picture)
        chance = param.apply_probability
        if param.max_color_shift and random.random() < chance:
            shifts = random.integers(param.max_color_shift + 1, size=len(picture))
            sign = 1 if random.integers(2) else -1
            picture = to_bytes(picture + sign * shifts[:, None, None].astype(np.float32))
        if adjusts and random.random() < chance:
            contrast = np.float32(random.uniform(param.min_contrast, param.max_contrast))
            most = param.max_brightness_shift
            shift = int(random.integers(-most, most + 1))
            picture = to_bytes(picture * contrast + np.float32(shift))
        if smooths and random.random() < chance:
            kind = int(random.integers(4))
            size = 1 + 2 * int(random.integers(max(1, int(param.max_smooth / 2))))
            picture = _blurred(picture, kind, size)
        return picture

    def erase(self, picture: NDArray[np.float32]) -> None:
        """Set parts of a picture, whose mean is taken out, to 0, in place."""
        param, random = self.param, self._random
        if not self._is_on:
            return
        height, width = picture.shape[1:]
        if param.cutout_size:
            half = param.cutout_size // 2
            top = int(random.integers(height)) - half
            left = int(random.integers(width)) - half
            bottom, right = top + param.cutout_size, left + param.cutout_size
            picture[:, max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 0
        if param.erase_prob and random.random() < param.erase_prob:
            self._erase_rectangle(picture)

    def _erase_rectangle(self, picture: NDArray[np.float32]) -> None:
        param, random = self.param, self._random
        height, width = picture.shape[1:]
        for _ in range(ERASING_TRIALS):
            area = random.uniform(param.erase_min_area, param.erase_max_area) * height * width
            ratio = random.uniform(param.erase_min_aspect, 1 / param.erase_min_aspect)
            tall, wide = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if tall < height and wide < width:
                top = int(random.integers(height - tall + 1))
                left = int(random.integers(width - wide + 1))
                picture[:, top : top + tall, left : left + wide] = 0
                return


def _check_bytes(picture: NDArray[Any]) -> None:
    if picture.dtype != np.uint8:
        raise ShapeError(
            "only pictures of bytes are turned, resized or coloured, not of floats: take out what "
            "transform_param says of it"
        )


def _boxless(picture: Picture) -> BoxedPicture:
    return BoxedPicture(picture, np.zeros((0, 7), np.float32))


def _with_shorter_side(height: int, width: int, side: int) -> tuple[int, int]:
    """Return a picture's size once its shorter side is `side`; the other is rounded up."""
    if height <= width:
        return side, max(side, math.ceil(width * side / height))
    return max(side, math.ceil(height * side / width)), side


def _turned(picture: Picture, angle: int) -> Picture:
    return np.stack(
        [
            np.asarray(
                Image.fromarray(channel).rotate(angle, Image.Resampling.BILINEAR, expand=True)
            )
            for channel in np.ascontiguousarray(picture)
        ]
    )


def _blurred(picture: Picture, kind: int, size: int) -> Picture:
    """Blur by a window of `size` pixels: a Gauss, a box, a median, or a box twice as large."""
    if kind == 0:
        # OpenCV's width of a Gauss that is given by its window.
        return gauss(picture, size, 0.3 * ((size - 1) * 0.5 - 1) + 0.8)
    if kind == 2:
        return median(picture, size)
    return box(picture, size if kind == 1 else 2 * size)
