"""What several examples share: where the reference models are, and pictures drawn on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FACE = (250, 210, 70)
GROUND = (70, 110, 150)


def reference(*parts: str) -> Path | None:
    """Return a file of the folder of reference material, or None where it is not there."""
    folder = Path(os.environ.get("RECAFFE_SHARED", Path(__file__).parents[2] / "shared"))
    path = folder.joinpath("models", *parts)
    return path if path.exists() else None


def faces(width: int = 480, height: int = 320, count: int = 5, seed: int = 3) -> Image.Image:
    """Draw round yellow faces of several sizes on a blue ground, with green leaves between."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (width * 2, height * 2), GROUND)
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = rng.integers(0, width * 2), rng.integers(0, height * 2)
        a, b = rng.integers(8, 40, 2)
        green = int(rng.integers(90, 150))
        draw.ellipse((x - a, y - b, x + a, y + b), fill=(40, green, 60))
    radii = [2 * (20 + 8 * i) for i in range(count)]
    gap = (width * 2 - 2 * sum(radii)) / (count + 1)
    left = gap
    for r in radii:
        x, left = int(left + r), left + 2 * r + gap
        y = int(rng.integers(r + 8, height * 2 - r - 8))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=FACE)
        for side in (-1, 1):
            eye = (x + side * r * 0.38, y - r * 0.25)
            e = r * 0.12
            draw.ellipse((eye[0] - e, eye[1] - e, eye[0] + e, eye[1] + e), fill=(40, 40, 40))
        mouth = (x - r * 0.5, y - r * 0.2, x + r * 0.5, y + r * 0.6)
        draw.arc(mouth, 20, 160, fill=(150, 50, 40), width=max(2, r // 10))
    return picture.resize((width, height), Image.Resampling.BOX)


def template(size: int) -> np.ndarray:
    """Return weights (3, size, size) for BGR that are large on a yellow disc that fills them.

    Within the disc they sum up to 1 for its colour's likeness, in the ring around to -1.
    """
    row, column = np.mgrid[:size, :size] - (size - 1) / 2
    far = np.hypot(row, column) / (size / 2)
    inside, ring = far < 0.85, far > 1.05
    disc = inside / inside.sum() - ring / ring.sum()
    return (np.array([-1.0, 0.5, 0.5])[:, None, None] * disc).astype(np.float32)


def plate(text: str = "EA8R5N7") -> Image.Image:
    """Draw a number plate of 136 x 36 pixels, white on blue, in the layout of China's."""
    scale, font = 8, ImageFont.load_default(160)
    picture = Image.new("RGB", (136 * scale, 36 * scale), (30, 70, 180))
    millimetre = 136 * scale / 440
    for i, letter in enumerate(text):
        left = (15.5 + 57 * i + (22 if i > 1 else 0)) * millimetre
        room, high = 45 * millimetre, 90 / 140 * 36 * scale
        glyph = Image.new("L", (400, 400))
        ImageDraw.Draw(glyph).text((100, 100), letter, font=font, fill=255, stroke_width=9)
        wide = room * (0.45 if letter in "1I" else 1)
        glyph = glyph.crop(glyph.getbbox()).resize((int(wide), int(high)))
        at = (int(left + (room - wide) / 2), int(25 / 140 * 36 * scale))
        picture.paste((245, 245, 245), at, glyph)
    return picture.resize((136, 36), Image.Resampling.BOX)
