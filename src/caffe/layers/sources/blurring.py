"""Blurring pictures as OpenCV does, to within one step of its rounding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .bgr_pictures import BgrPicture, to_bytes


def gauss(picture: BgrPicture, size: int, sigma: float) -> BgrPicture:
    """Blur by a Gauss of width `sigma`, cut off to a window of `size` pixels."""
    return _weighed(picture, np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2)))


def box(picture: BgrPicture, size: int) -> BgrPicture:
    """Make each pixel the mean of a window of `size` pixels."""
    return _weighed(picture, np.ones(size))


def median(picture: BgrPicture, size: int) -> BgrPicture:
    """Make each pixel the median of a window of `size` pixels, which is odd."""
    if size == 1:
        return picture
    channels = [Image.fromarray(c) for c in np.ascontiguousarray(picture)]
    return np.stack([np.asarray(c.filter(ImageFilter.MedianFilter(size))) for c in channels])


def _weighed(picture: BgrPicture, weights: NDArray[np.float64]) -> BgrPicture:
    weights = weights / weights.sum()
    values = picture.astype(np.float32)
    for axis in (1, 2):
        values = _along(values, weights.astype(np.float32), axis)
    return to_bytes(values)


def _along(
    values: NDArray[np.float32], weights: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Weigh neighbours along an axis; beyond the border stands the mirror picture."""
    count, extent = len(weights), values.shape[axis]
    before = count // 2
    places = np.arange(-before, extent + count - 1 - before)
    if extent > 1:
        places = np.abs(places) % (2 * extent - 2)
        places = np.minimum(places, 2 * extent - 2 - places)
    else:
        places = np.zeros_like(places)
    padded = values.take(places, axis)
    parts = (padded.take(range(i, i + extent), axis) * weight for i, weight in enumerate(weights))
    whole = np.zeros_like(values)
    for part in parts:
        whole += part
    return whole
