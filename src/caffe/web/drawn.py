"""Numbers as small pictures and figures, for JSON."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_VALUES = 50_000
BINS = 48
Ramp = Sequence[Sequence[int]]
# Black, violet, red, orange, pale yellow: the brighter the more, also for the colour-blind.
RAMP = ((8, 6, 24), (86, 20, 110), (188, 50, 84), (248, 142, 30), (252, 252, 176))
HEAT = (
    (40, 10, 80),
    (120, 28, 109),
    (220, 60, 60),
    (250, 140, 10),
    (250, 200, 50),
    (252, 255, 164),
)

Pixels = NDArray[np.uint8]


def statistics(values: NDArray[Any]) -> dict[str, Any]:
    """How values are spread: least, most, mean, deviation, how many are zero, and a histogram."""
    flat = np.ravel(values)
    finite = flat[np.isfinite(flat)].astype(np.float64)
    if not finite.size:
        return {"count": int(flat.size), "finite": 0, "histogram": None}
    low, high = float(finite.min()), float(finite.max())
    counts, _ = np.histogram(finite, BINS, (low, high if high > low else low + 1))
    return {
        "count": int(flat.size),
        "finite": int(finite.size),
        "low": number(low),
        "high": number(high),
        "mean": number(finite.mean()),
        "deviation": number(finite.std()),
        "zeros": int((finite == 0).sum()),
        "histogram": [int(count) for count in counts],
    }


def heat(found: NDArray[np.float32]) -> str:
    """A map from 0 to 1 as a PNG to lay over a picture, as a data address."""
    hot = colours(HEAT)[np.rint(found * 255).astype(np.uint8)]
    # What counts little is left clear: the picture is to be recognised below.
    alpha = np.rint(np.clip(found * 1.1 - 0.1, 0, 1) ** 0.6 * 225).astype(np.uint8)
    return png(Image.fromarray(np.dstack([hot, alpha])))


def number(value: Any) -> float | None:
    """A number for JSON, which has no infinity."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def facts(maps: NDArray[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each map its name, its least, most and mean."""
    return [
        {
            "name": name,
            "low": number(one.min()),
            "high": number(one.max()),
            "mean": number(one.mean()),
        }
        for name, one in zip(names, maps, strict=True)
    ]


def values_of(values: NDArray[Any]) -> dict[str, Any]:
    """Values as a list, the first ones where there are very many."""
    flat = np.ravel(values)
    return {"total": int(flat.size), "values": [number(v) for v in flat[:MOST_VALUES]]}


def levels(maps: NDArray[Any], low: float | None, high: float | None) -> Pixels:
    """Grey levels between two values, or of each map between its own least and most."""
    finite = np.nan_to_num(maps.astype(np.float32))
    axes = tuple(range(1, finite.ndim))
    least = finite.min(axes, keepdims=True) if low is None else np.float32(low)
    most = finite.max(axes, keepdims=True) if high is None else np.float32(high)
    span = np.maximum(most - least, np.float32(1e-30))
    grey: Pixels = np.clip(np.rint((finite - least) / span * 255), 0, 255).astype(np.uint8)
    return grey


def shrunk(tiles: Pixels, largest: int) -> Pixels:
    """Tiles that are no larger than that."""
    height, width = tiles.shape[1:3]
    if max(height, width) <= largest or not len(tiles):
        return tiles
    share = largest / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    resized = [Image.fromarray(tile).resize(size, Image.Resampling.BOX) for tile in tiles]
    return np.stack([np.asarray(tile) for tile in resized])


def mosaic(tiles: Pixels, ramp: Sequence[Sequence[int]] | None) -> dict[str, Any]:
    """Tiles side by side in one picture, and how to cut them out again."""
    if not len(tiles):
        return {"tiles": None, "columns": 0, "tile": list(tiles.shape[1:3])}
    height, width = tiles.shape[1:3]
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    whole = np.zeros((rows * height, columns * width, *tiles.shape[3:]), np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        whole[y * height : (y + 1) * height, x * width : (x + 1) * width] = tile
    picture = Image.fromarray(whole)
    if ramp is not None:
        picture.putpalette(colours(ramp).tobytes())
    return {"tiles": png(picture), "columns": columns, "tile": [height, width]}


def colours(ramp: Sequence[Sequence[int]]) -> Pixels:
    """256 colours along a ramp."""
    stops = np.asarray(ramp, dtype=np.float32)
    at = np.linspace(0, 1, len(stops))
    along = np.linspace(0, 1, 256)
    return np.stack([np.interp(along, at, stops[:, i]) for i in range(3)], 1).astype(np.uint8)


def png(picture: Image.Image) -> str:
    """A picture as a PNG, as a data address."""
    stream = io.BytesIO()
    # Packing tightly takes longer than all else that is done for a look.
    picture.save(stream, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
