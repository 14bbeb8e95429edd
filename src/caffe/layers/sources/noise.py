"""SSD's noise_param: what makes training pictures like those of other cameras."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from ...errors import CaffeWarning, NetError, ShapeError
from ...proto.caffe_pb2 import NoiseParameter
from . import blurring, color_spaces, equalization
from .bgr_pictures import BgrPicture, grey_of

NEEDING_COLORS = ("convert_to_hsv", "convert_to_lab")

CLIP_LIMIT = 4


class Noise:
    """Changes pictures in SSD's order, whatever the order of the text.

    decolorize, gauss_blur (7 x 7, sigma 1.5), hist_eq, clahe (8 x 8 parts, clip limit 4), jpeg,
    erode (a cross of 3 x 3), posterize (to 32, 96, 160, 224), inverse, saltpepper, convert_to_hsv,
    convert_to_lab. Equalizing is of Y in YCrCb, or of the one channel. A grey picture stays one.

    SSD does all of it to every picture; where the text says `prob`, it is done so often.

    Parameters
    ----------
    param : NoiseParameter
        What the text says.

    Raises
    ------
    NetError
        A number is out of its range, or salt and pepper lack their value.

    Warns
    -----
    CaffeWarning
        There is a saltpepper_param, but no ``saltpepper: true``.
    """

    def __init__(self, param: NoiseParameter) -> None:
        self._param = param
        if not 0 <= param.prob <= 1:
            raise NetError(f"noise_param.prob must be from 0 to 1, not {param.prob:g}", word="prob")
        # Below 1 it is none, as in SSD; a part of 1 is somebody's other idea of quality.
        if 0 < param.jpeg < 1 or not param.jpeg <= 100:
            raise NetError(
                f"noise_param.jpeg is a quality from 1 to 100, not {param.jpeg:g}", word="jpeg"
            )
        salt = param.saltpepper_param
        if not 0 <= salt.fraction <= 1:
            raise NetError(
                f"saltpepper_param.fraction must be from 0 to 1, not {salt.fraction:g}",
                word="fraction",
            )
        for value in salt.value:
            if not 0 <= value <= 255:
                raise NetError(
                    f"saltpepper_param.value must be from 0 to 255, not {value:g}", word="value"
                )
        if param.saltpepper and not salt.value:
            raise NetError(
                "noise_param.saltpepper needs saltpepper_param with a fraction and a value",
                word="saltpepper",
            )
        if param.HasField("saltpepper_param") and not param.saltpepper:
            warnings.warn(
                "noise_param's saltpepper_param does nothing without saltpepper: true",
                CaffeWarning,
                stacklevel=2,
            )

    def __call__(self, picture: BgrPicture, random: np.random.Generator) -> BgrPicture:
        """Change a picture, or, with `prob`, leave it as it is.

        Raises
        ------
        ShapeError
            The picture's numbers are no bytes, or it has not the channels that a field needs.
        """
        param = self._param
        if not param.ListFields():
            return picture
        self._check(picture)
        if param.HasField("prob") and random.random() >= param.prob:
            return picture
        if param.decolorize and len(picture) == 3:
            picture = np.repeat(grey_of(picture), 3, 0)
        if param.gauss_blur:
            picture = blurring.gauss(picture, 7, 1.5)
        if param.hist_eq:
            picture = _equalized(picture, in_parts=False)
        if param.clahe:
            picture = _equalized(picture, in_parts=True)
        if param.jpeg > 0:
            picture = _through_jpeg(picture, int(param.jpeg))
        if param.erode:
            picture = _eroded(picture)
        if param.posterize:
            picture = picture // 64 * 64 + 32
        if param.inverse:
            picture = 255 - picture
        if param.saltpepper:
            picture = self._salted(picture, random)
        if param.convert_to_hsv:
            picture = color_spaces.to_hsv(picture)
        if param.convert_to_lab:
            picture = color_spaces.to_lab(picture)
        return picture

    def _check(self, picture: BgrPicture) -> None:
        channels, param = len(picture), self._param
        if picture.dtype != np.uint8:
            raise ShapeError("noise_param is for pictures of bytes, not of floats")
        if channels not in (1, 3):
            raise ShapeError(
                f"noise_param is for grey and BGR pictures, not for {channels} channels: say "
                "force_color or force_gray"
            )
        asked = [name for name in NEEDING_COLORS if getattr(param, name)]
        if asked and channels == 1:
            raise ShapeError(f"noise_param.{asked[0]} needs a picture in colour, this one is grey")
        values = len(param.saltpepper_param.value)
        if param.saltpepper and values not in (1, channels):
            raise ShapeError(
                f"saltpepper_param has {values} values for a picture of {channels} channels: give "
                "one, or one per channel"
            )

    def _salted(self, picture: BgrPicture, random: np.random.Generator) -> BgrPicture:
        """Set pixels to a value; the same may be drawn twice."""
        param = self._param.saltpepper_param
        _, height, width = picture.shape
        count = int(np.float32(param.fraction) * width * height)
        columns, rows = random.integers(width, size=count), random.integers(height, size=count)
        salted: BgrPicture = picture.copy()
        salted[:, rows, columns] = np.array(param.value, np.float32).astype(np.uint8)[:, None]
        return salted


def _equalized(picture: BgrPicture, in_parts: bool) -> BgrPicture:
    is_grey = len(picture) == 1
    planes = picture if is_grey else color_spaces.to_ycrcb(picture)
    grey = planes[0]
    grey = (
        equalization.equalized_in_parts(grey, CLIP_LIMIT)
        if in_parts
        else equalization.equalized(grey)
    )
    made = np.concatenate([grey[None], planes[1:]])
    return made if is_grey else color_spaces.from_ycrcb(made)


def _through_jpeg(picture: BgrPicture, quality: int) -> BgrPicture:
    """Return what a JPEG file keeps of a picture."""
    rgb = np.ascontiguousarray(picture[::-1].transpose(1, 2, 0))
    image = Image.fromarray(rgb[:, :, 0] if len(picture) == 1 else rgb)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    pixels = np.asarray(Image.open(file))
    return pixels[None] if len(picture) == 1 else pixels.transpose(2, 0, 1)[::-1]


def _eroded(picture: BgrPicture) -> BgrPicture:
    """Make each pixel the least of itself and its four neighbours."""
    made: BgrPicture = picture.copy()
    for part, other in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, :, 1:], np.s_[:, :, :-1]),
        (np.s_[:, :, :-1], np.s_[:, :, 1:]),
    ):
        np.minimum(made[part], picture[other], out=made[part])
    return made
