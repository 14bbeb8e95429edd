"""A blob's axes as the layers of pictures read them: number, channels, height and width."""

from __future__ import annotations

from ..errors import ShapeError
from ..memory.blob import Shape


def four_axes(shape: Shape) -> Shape:
    """Return `shape` with the four axes (number, channels, height, width) that older layers see.

    Raises
    ------
    ShapeError
        There are more than four.
    """
    if len(shape) > 4:
        raise ShapeError(f"the layer takes blobs of at most 4 axes, not of shape {shape}")
    return shape + (1,) * (4 - len(shape))


def picture_size(shape: Shape) -> tuple[int, int]:
    """Return the height and width of a bottom of this shape.

    Raises
    ------
    ShapeError
        It has not 4 axes.
    """
    if len(shape) != 4:
        raise ShapeError(f"the bottom must have 4 axes (num, channels, height, width), not {shape}")
    return shape[2], shape[3]
