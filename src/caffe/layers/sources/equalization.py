"""Spreading a picture's grey values over their range: of the whole picture, or part by part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bgr_pictures import to_bytes

Grey = NDArray[np.uint8]
"""Height x width."""

TILES = 8
"""Into how many parts a side is divided."""


def equalized(grey: Grey) -> Grey:
    """Make values as frequent as each other, as OpenCV's equalizeHist does."""
    counts = np.bincount(grey.ravel(), minlength=256)
    least = int(grey.min())
    others = grey.size - counts[least]
    if not others:
        return grey
    above = np.cumsum(counts) - counts[least]
    return to_bytes(above.astype(np.float32) * np.float32(255 / others))[grey]


def equalized_in_parts(grey: Grey, clip_limit: float) -> Grey:
    """Make values of 8 x 8 parts as frequent as each other, as OpenCV's CLAHE does.

    By what a value is more frequent than `clip_limit` times the mean, all values become more
    frequent, so that noise in even parts does not grow without end. Between the parts' centers
    tables are blended.

    Parameters
    ----------
    grey : array, uint8, (height, width)
        The picture.
    clip_limit : float
        Of the mean frequency.
    """
    height, width = grey.shape
    whole = grey
    if height % TILES or width % TILES:
        # Where one side does not divide, OpenCV lengthens both.
        more = [(0, TILES - side % TILES) for side in grey.shape]
        whole = np.pad(grey, more, "reflect")
    tall, wide = whole.shape[0] // TILES, whole.shape[1] // TILES
    parts = whole.reshape(TILES, tall, TILES, wide).swapaxes(1, 2).reshape(TILES, TILES, -1)
    limit = max(1, int(clip_limit * tall * wide / 256))
    tables = np.array([[_table(part, limit) for part in row] for row in parts])
    top, bottom, below = _blend(height, tall)
    left, right, after = _blend(width, wide)
    top, bottom, below = top[:, None], bottom[:, None], below[:, None]
    upper, lower = (
        tables[row, left, grey] * (1 - after) + tables[row, right, grey] * after
        for row in (top, bottom)
    )
    return to_bytes(upper * (1 - below) + lower * below)


def _table(part: NDArray[np.uint8], limit: int) -> NDArray[np.float32]:
    """What each value of a part becomes."""
    counts = np.bincount(part, minlength=256)
    excess = int(np.maximum(counts - limit, 0).sum())
    counts = np.minimum(counts, limit) + excess // 256
    rest = excess % 256
    if rest:
        counts[:: max(1, 256 // rest)][:rest] += 1
    shares = np.cumsum(counts).astype(np.float32) * np.float32(255 / part.size)
    return to_bytes(shares).astype(np.float32)


def _blend(
    extent: int, size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each pixel the two parts whose centers it lies between, and the second one's share."""
    places = np.arange(extent, dtype=np.float32) * (np.float32(1) / np.float32(size))
    places -= np.float32(0.5)
    before = np.floor(places)
    first = before.astype(np.intp)
    return np.maximum(first, 0), np.minimum(first + 1, TILES - 1), places - before
