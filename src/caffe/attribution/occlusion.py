"""Occlusion: how a score falls when a square hides each place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError, ShapeError
from ..guarded import guarded
from ..memory.blob import Shape
from ..net.net import Net
from .apart import Apart

OCCLUDED_AT_ONCE = 16
"""Pictures per forward pass of `occlusion_map`."""

Map = NDArray[np.float32]


@guarded
def occlusion_map(
    net: Net,
    class_index: int,
    image: int = 0,
    size: int | None = None,
    stride: int | None = None,
    fill: float | Sequence[float] = 0.0,
    output: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Map:
    """Return how much a class's score falls when a square hides each place (Zeiler et al., 2014).

    The square moves over the picture; a pixel's value is the mean fall over the squares that hid
    it. No gradient is needed, so that it also holds for layers without one.

    Parameters
    ----------
    net : Net
        With the pictures in its first input.
    class_index, image, output
        As for `saliency_map`.
    size : int, optional
        The square's side in pixels; a seventh of the input's shorter side by default.
    stride : int, optional
        How far it moves at a time, at most `size`; half of `size` by default.
    fill : float or sequence of float
        What stands in the square, in the input's own units, for all channels or one each. 0 is
        the mean picture of nets that subtract it.
    progress : callable, optional
        Called with how many squares are done, and of how many.

    Returns
    -------
    numpy.ndarray
        (height, width) of the input, float32, in score: positive where hiding lowers it.

    Raises
    ------
    CaffeError
        As for `saliency_map`; `size`, `stride` or `fill` do not fit the input.
    """
    apart = Apart(net, output, gradients=False)
    height, width = apart.picture.shape[2:]
    if size is None:
        size = max(1, min(height, width) // 7)
    _check_extent("size", size, min(height, width), apart.picture.shape)
    if stride is None:
        stride = max(1, size // 2)
    _check_extent("stride", stride, size, apart.picture.shape)
    filling = _filling(fill, apart.picture.shape[1])
    apart.load(image)
    whole = apart.score(class_index)
    corners = [(y, x) for y in _starts(height, size, stride) for x in _starts(width, size, stride)]
    fall = np.zeros((height, width), np.float64)
    times = np.zeros((height, width), np.float64)
    step = OCCLUDED_AT_ONCE if apart.takes_any_batch else 1
    for begin in range(0, len(corners), step):
        some = corners[begin : begin + step]
        apart.load(image, len(some))
        data = apart.picture.data
        for i, (y, x) in enumerate(some):
            data[apart.index + i, :, y : y + size, x : x + size] = filling
        scores = apart.scores(class_index)
        for i, (y, x) in enumerate(some):
            fall[y : y + size, x : x + size] += whole - scores[apart.index + i]
            times[y : y + size, x : x + size] += 1
        if progress is not None:
            progress(begin + len(some), len(corners))
    return (fall / times).astype(np.float32)


def _check_extent(what: str, value: int, most: int, shape: Shape) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise CaffeError(f"{what} must be a whole number of pixels, not {value!r}")
    if not 1 <= value <= most:
        inputs = f"{shape[2]} x {shape[3]}"
        raise CaffeError(f"{what} must be 1 to {most} pixels, not {value} (the input is {inputs})")


def _filling(fill: float | Sequence[float], channels: int) -> NDArray[np.float32]:
    try:
        values = np.asarray(fill, dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError
        return np.broadcast_to(values.reshape(-1), (channels,)).reshape(channels, 1, 1)
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"fill must be one number, or one for each of {channels} channels, not {fill!r}"
        ) from error


def _starts(extent: int, size: int, stride: int) -> list[int]:
    """Where squares begin so that all of the extent is hidden once."""
    return sorted({*range(0, extent - size + 1, stride), extent - size})
