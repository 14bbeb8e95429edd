"""Pictures to begin with: photographs where scikit-image is installed, else drawings."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache

from PIL import Image, ImageDraw

PHOTOGRAPHS = {
    "chelsea": "A cat",
    "coffee": "A cup of coffee",
    "rocket": "A rocket",
    "astronaut": "An astronaut",
}
"""Those of scikit-image that lie in its package, and need no download."""
SIZE = 480


def _balloon(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((0, 0, SIZE, SIZE), "#8ec9ef")
    for i, colour in enumerate(("#d62828", "#f4a300", "#d62828", "#f4a300", "#d62828")):
        half = 130 - 52 * i
        draw.ellipse((240 - abs(half), 60, 240 + abs(half), 320), colour)
    draw.polygon([(180, 300), (300, 300), (268, 372), (212, 372)], "#d62828")
    draw.rectangle((212, 380, 268, 424), "#7a4a21")


def _traffic_light(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((0, 0, SIZE, SIZE), "#b9c4cc")
    draw.rectangle((228, 360, 252, SIZE), "#3b3f42")
    draw.rounded_rectangle((165, 40, 315, 372), 24, "#23272a")
    for y, colour in ((96, "#e5383b"), (206, "#5b4b12"), (316, "#123d1c")):
        draw.ellipse((240 - 44, y - 44, 240 + 44, y + 44), colour)


def _daisy(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((0, 0, SIZE, SIZE), "#3f7d3a")
    for i in range(16):
        x, y = 240 + 120 * math.cos(i * math.pi / 8), 240 + 120 * math.sin(i * math.pi / 8)
        draw.ellipse((x - 46, y - 46, x + 46, y + 46), "#fbfbf4")
    draw.ellipse((240 - 72, 240 - 72, 240 + 72, 240 + 72), "#f2b705")


DRAWINGS: dict[str, tuple[str, Callable[[ImageDraw.ImageDraw], None]]] = {
    "balloon": ("A balloon", _balloon),
    "traffic-light": ("A traffic light", _traffic_light),
    "daisy": ("A daisy", _daisy),
}


@cache
def titles() -> dict[str, str]:
    """The pictures there are, by name."""
    found = {name: title for name, title in PHOTOGRAPHS.items() if _photograph(name) is not None}
    return found or {name: title for name, (title, _) in DRAWINGS.items()}


@cache
def content(name: str) -> bytes:
    """A picture of `titles`, as JPEG."""
    picture = _photograph(name)
    if picture is None:
        picture = Image.new("RGB", (SIZE, SIZE))
        DRAWINGS[name][1](ImageDraw.Draw(picture))
    picture.thumbnail((SIZE, SIZE))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def _photograph(name: str) -> Image.Image | None:
    """One of scikit-image's, without its code: reading the file takes a hundredth of the time."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return None
    for ending in ("png", "jpg"):
        path = Path(spec.submodule_search_locations[0]) / "data" / f"{name}.{ending}"
        if path.is_file():
            with Image.open(path) as opened:
                picture: Image.Image = opened.convert("RGB")
                return picture
    return None
