"""Boxes and their names drawn into pictures, so that they can be read on any background."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from ..errors import ShapeError

Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, from the picture's upper left corner."""

GOLDEN = 0.618033988749895
"""Steps of this part of the circle of colours keep neighbours far apart."""

DARK, LIGHT = (16, 16, 16), (255, 255, 255)


@dataclass(frozen=True)
class Mark:
    """A box to draw.

    Attributes
    ----------
    box : (float, float, float, float)
        x1, y1, x2, y2 in pixels.
    text : str
        What stands at it; nothing where it is empty.
    group : int
        Boxes of one group have one colour.
    points : sequence of (float, float)
        Places within it, x and y in pixels, drawn as dots.
    """

    box: Corners
    text: str = ""
    group: int = 0
    points: Sequence[tuple[float, float]] = ()


def to_picture(pixels: ArrayLike) -> Image.Image:
    """Return an array as an RGB picture.

    Parameters
    ----------
    pixels : array
        H x W x 3 in RGB order, H x W x 1 or H x W: floats from 0 to 1, or bytes.

    Raises
    ------
    ShapeError
        It has another shape.
    """
    array = np.asarray(pixels)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise ShapeError(f"a picture must be H x W x 3 or H x W, not of shape {array.shape}")
    if array.dtype != np.uint8:
        array = (np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.fromarray(array).convert("RGB")


def color_of(group: int) -> tuple[int, int, int]:
    """Return the colour of a group of boxes, red, green and blue from 0 to 255."""
    red, green, blue = colorsys.hsv_to_rgb((0.33 + group * GOLDEN) % 1, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_marks(pixels: ArrayLike | Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """Return the picture with boxes and their texts.

    Lines and letters grow with the picture. A box has a dark rim, and a text a ground of the
    box's colour, so that both show on any background. Texts stay within the picture and, where
    there is room, off one another. The first marks, the best ones, are drawn last.

    Parameters
    ----------
    pixels : array or PIL.Image.Image
        The picture, as `to_picture` takes it.
    marks : sequence of Mark
        The best first.

    Examples
    --------
    >>> picture = draw_marks(np.zeros((60, 80, 3)), [Mark((10, 10, 50, 40), "cat 0.98")])
    >>> picture.size
    (80, 60)
    """
    picture = pixels.convert("RGB") if isinstance(pixels, Image.Image) else to_picture(pixels)
    draw = ImageDraw.Draw(picture)
    side = min(picture.size)
    line = max(2, round(side / 220))
    font = ImageFont.load_default(max(8.0, min(72.0, 6 + side / 36)))
    for mark in reversed(marks):
        _draw_box(draw, picture.size, mark, line)
    taken: list[Corners] = []
    placed = [(mark, _place(draw, picture.size, mark, font, line, taken)) for mark in marks]
    for mark, place in reversed(placed):
        if place is not None:
            color = color_of(mark.group)
            draw.rectangle(place, fill=color)
            bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
            padding = line + 1
            draw.text(
                (place[0] + padding, place[1] + padding // 2),
                mark.text,
                fill=DARK if bright else LIGHT,
                font=font,
                anchor="la",
            )
    return picture


def _draw_box(draw: ImageDraw.ImageDraw, size: tuple[int, int], mark: Mark, line: int) -> None:
    # A side outside the picture is drawn at its edge, where it can be seen.
    last = (size[0] - 1, size[1] - 1) * 2
    x1, y1, x2, y2 = (min(max(round(c), 0), m) for c, m in zip(mark.box, last, strict=True))
    x2, y2 = max(x1, x2), max(y1, y2)
    rim = max(1, line // 3)
    draw.rectangle((x1, y1, x2, y2), outline=DARK, width=line + 2 * rim)
    if x2 - x1 > 2 * rim and y2 - y1 > 2 * rim:
        inner = (x1 + rim, y1 + rim, x2 - rim, y2 - rim)
        draw.rectangle(inner, outline=color_of(mark.group), width=line)
    radius = max(1, round(line * 0.8))
    for x, y in mark.points:
        dot = (x - radius - rim, y - radius - rim, x + radius + rim, y + radius + rim)
        draw.ellipse(dot, fill=color_of(mark.group), outline=DARK, width=rim)


def _place(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    mark: Mark,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    line: int,
    taken: list[Corners],
) -> Corners | None:
    """Where a text's ground goes: above its box, within, below, or pushed down off the others."""
    if not mark.text:
        return None
    left, _, right, bottom = draw.textbbox((0, 0), mark.text, font=font, anchor="la")
    width, height = right - left + 2 * (line + 1), bottom + line + 2
    x1, y1, x2, y2 = mark.box
    choices = [(x1, y1 - height), (x1, y1), (x1, y2 - height), (x2 - width, y1), (x1, y2)]
    choices += [(x1, y1 + step * height) for step in range(1, 8)]
    best: Corners | None = None
    least = float("inf")
    for number, (x, y) in enumerate(choices):
        x0 = min(max(x, 0), max(0, size[0] - width))
        y0 = min(max(y, 0), max(0, size[1] - height))
        place = (round(x0), round(y0), round(x0 + width) - 1, round(y0 + height) - 1)
        covered = sum(_shared(place, other) for other in taken)
        # A place that had to be moved into the picture covers what another may leave free.
        cost = covered * 100 + abs(x0 - x) + abs(y0 - y) + number
        if cost < least:
            best, least = place, cost
    assert best is not None
    taken.append(best)
    return best


def _shared(a: Corners, b: Corners) -> float:
    """The area that two rectangles have in common."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, wide) * max(0.0, high)
