"""Pictures as data layers take them from OpenCV: bytes, channels first, in BGR order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...io.pictures import open_picture, pixels_of, read_pixels
from ...paths import PathLike

BgrPicture = NDArray[np.uint8]
"""Channels x height x width, 0 to 255; one channel is grey, three are BGR, four BGRA."""

GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def read_picture(source: PathLike, color: bool = True) -> BgrPicture:
    """Read a picture from its file or encoded content.

    Parameters
    ----------
    source : path or bytes
        One of the formats that `caffe.io.load_image` reads.
    color : bool
        Three channels if true, else one.

    Raises
    ------
    ImageError
        There is no such file, or it is no picture.
    """
    return _as_bgr(*read_pixels(source), color)


def _as_bgr(pixels: NDArray[Any], white: float, color: bool = True) -> BgrPicture:
    if pixels.dtype == np.uint8:
        rgb = pixels
    elif white == 65535:
        # OpenCV drops the low byte.
        rgb = (pixels.clip(0, 65535).astype(np.uint16) >> 8).astype(np.uint8)
    else:
        rgb = np.rint(np.clip(pixels / np.float32(white), 0, 1) * 255).astype(np.uint8)
    bgr = np.ascontiguousarray(rgb[:, :, ::-1].transpose(2, 0, 1))
    return bgr if color else grey_of(bgr)


def grey_of(picture: BgrPicture) -> BgrPicture:
    """Return a BGR picture's brightness, one channel."""
    # OpenCV's weights of blue, green and red (ITU-R BT.601) in 14 bits.
    weighted = np.tensordot(np.array([1868, 9617, 4899], np.int32), picture.astype(np.int32), 1)
    return ((weighted + 8192) >> 14).astype(np.uint8)[np.newaxis]


def read_native_picture(content: bytes) -> BgrPicture:
    """Read an encoded picture with the channels that it has: grey, BGR or BGRA.

    Raises
    ------
    ImageError
        It is no picture.
    """
    with open_picture(content) as picture:
        bgr = _as_bgr(*pixels_of(picture))
        if picture.mode in GREY_MODES:
            return bgr[:1]
        if not picture.has_transparency_data:
            return bgr
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
    return np.concatenate([bgr, alpha[np.newaxis]])


def to_bytes(values: NDArray[Any]) -> BgrPicture:
    """Return numbers rounded and held between 0 and 255."""
    held: BgrPicture = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return held


def resize_picture(picture: BgrPicture, height: int, width: int) -> BgrPicture:
    """Resize as OpenCV's bilinear `resize` does with bytes, in its whole-number arithmetic."""
    if picture.shape[1:] == (height, width):
        return picture
    top, bottom, upper, lower = _samples(picture.shape[1], height)
    left, right, before, after = _samples(picture.shape[2], width)
    wide = picture.astype(np.int32)
    wide = wide[:, :, left] * before + wide[:, :, right] * after
    # The products are cut to 16 bits, then two bits are left to round by.
    wide >>= 4
    high = (wide[:, top] * upper[:, np.newaxis]) >> 16
    high += (wide[:, bottom] * lower[:, np.newaxis]) >> 16
    resized: BgrPicture = np.clip((high + 2) >> 2, 0, 255).astype(np.uint8)
    return resized


def resize_to_nearest(picture: BgrPicture, height: int, width: int) -> BgrPicture:
    """Resize as OpenCV's INTER_NEAREST does: each pixel is the one in which its corner lies."""
    rows, columns = (
        np.minimum(np.floor(np.arange(new) * (1 / (new / old))).astype(np.intp), old - 1)
        for old, new in zip(picture.shape[1:], (height, width), strict=True)
    )
    return picture[:, rows[:, None], columns]


def resize_cubic(picture: BgrPicture, height: int, width: int) -> BgrPicture:
    """Resize as OpenCV's bicubic `resize` does with bytes, in its whole-number arithmetic."""
    rows, upper = _cubic_samples(picture.shape[1], height)
    columns, before = _cubic_samples(picture.shape[2], width)
    whole = picture.astype(np.int32)
    wide = (whole[:, :, columns] * before).sum(-1, dtype=np.int32)
    high = (wide[:, rows] * upper[:, :, None]).sum(2, dtype=np.int32)
    resized: BgrPicture = np.clip((high + (1 << 21)) >> 22, 0, 255).astype(np.uint8)
    return resized


def _cubic_samples(old: int, new: int) -> tuple[NDArray[np.intp], Weights]:
    """For each new pixel the four old ones around it, and their weights of 2048."""
    points = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    left = np.floor(points)
    x = points - left
    sharpness = np.float32(-0.75)
    near = [((sharpness + 2) * side - (sharpness + 3)) * side * side + 1 for side in (x, 1 - x)]
    far = ((sharpness * (x + 1) - 5 * sharpness) * (x + 1) + 8 * sharpness) * (x + 1)
    far -= 4 * sharpness
    weights = np.stack([far, *near, 1 - far - near[0] - near[1]], 1)
    taps = np.clip(left.astype(np.intp)[:, None] + np.arange(-1, 3), 0, old - 1)
    return taps, np.rint(weights * 2048).astype(np.int32)


def _samples(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Weights, Weights]:
    """For each new pixel the two old ones between which it lies, and their weights of 2048."""
    points = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    below = np.floor(points).astype(np.intp)
    fraction = points - below.astype(np.float32)
    outside = (below < 0) | (below >= old - 1)
    fraction[outside] = 0
    below = np.clip(below, 0, old - 1)
    after = np.rint(fraction * 2048).astype(np.int32)
    before = np.rint((1 - fraction) * 2048).astype(np.int32)
    return below, np.minimum(below + 1, old - 1), before, after


Weights = NDArray[np.int32]
