"""What strangers send as pictures: told by their content, measured before they are unpacked."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, features

from ..io.pictures import pixels_of
from ..io.recipe import Frame
from .refusals import Refusal

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM") + (
    ("AVIF",) if features.check("avif") else ()
)
_TYPES = {"MPO": "image/jpeg", "PPM": "image/x-portable-pixmap"}


@dataclass(frozen=True)
class SentPicture:
    """A picture that somebody sent.

    Attributes
    ----------
    pixels : numpy.ndarray
        H x W x 3 in RGB order, or H x W x 1 grey, upright.
    white : float
        What `pixels` are to be divided by to lie in 0 to 1.
    format : str
        What the file is: "JPEG", "PNG", ...
    """

    pixels: NDArray[Any]
    white: float
    format: str

    @property
    def facts(self) -> dict[str, Any]:
        """Its format and size, as answers give them."""
        height, width = self.pixels.shape[:2]
        return {"format": self.format, "width": width, "height": height}


@dataclass(frozen=True)
class PreparedPicture:
    """A picture as a net takes it, and where it lies there."""

    picture: SentPicture
    crops: NDArray[np.float32]
    frame: Frame | None = None


def read_sent_picture(content: bytes, most_pixels: int, color: bool = True) -> SentPicture:
    """Read a picture of one of the `FORMATS`.

    Unlike `caffe.io.load_image` it is turned upright where its camera noted how it was held.

    Raises
    ------
    Refusal
        It is no picture of these formats (415), has too many pixels (413), or is damaged (400).
    """
    try:
        with _opened(content, most_pixels) as opened:
            name = opened.format or ""
            pixels, white = pixels_of(opened, color)
            # Only now: some formats turn themselves when they are unpacked.
            orientation = _orientation(opened)
        pixels = np.ascontiguousarray(_UPRIGHT.get(orientation, _as_it_is)(pixels))
        return SentPicture(pixels, white, "JPEG" if name == "MPO" else name)
    except Refusal:
        raise
    # Pillow's decoders raise anything on a damaged file: OSError, SyntaxError, struct.error ...
    except Exception as error:
        raise Refusal(400, "damaged", "the picture is damaged and cannot be read") from error


# Its first name.
read_picture = read_sent_picture


def _orientation(opened: Image.Image) -> Any:
    try:
        return opened.getexif().get(ExifTags.Base.Orientation)
    # Notes that cannot be read say nothing; a picture that cannot be is found out later.
    except Exception:
        return None


def _as_it_is(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels


# What turns a picture upright, by how its camera was held.
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


def media_type(content: bytes, most_pixels: int) -> str:
    """The media type of a picture, by its content; raises as `read_sent_picture` does."""
    with _opened(content, most_pixels) as picture:
        name = picture.format or ""
        return _TYPES.get(name) or Image.MIME[name]


def _opened(content: bytes, most_pixels: int) -> Image.Image:
    """Read a picture's header, and refuse it by what that says."""
    if not content:
        raise Refusal(400, "empty", "there is no picture in this request")
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(most_pixels) from error
    except Exception as error:
        known = ", ".join(FORMATS)
        raise Refusal(415, "no_picture", f"this is no picture in one of {known}") from error
    # Some formats hold each number in 16 or 32 bits.
    depth = 4 if picture.mode in ("I", "F") else 2 if picture.mode.startswith("I;16") else 1
    if picture.width * picture.height * depth > most_pixels:
        raise _too_many_pixels(most_pixels)
    return picture


def _too_many_pixels(most: int) -> Refusal:
    return Refusal(
        413,
        "too_many_pixels",
        f"the picture has more than the {most / 1e6:g} million pixels allowed (of 16 bits "
        "a value each counts twice, of 32 four times)",
    )
