"""What people give as a picture: a path, an address, bytes, a file, Pillow's picture, an array."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import TypeIs

from ..errors import ArgumentError, ImageError, ShapeError
from ..paths import PathLike, is_path, path_text
from .pictures import GREY_WEIGHTS, pixels_of, read_pixels

Picture: TypeAlias = PathLike | IO[bytes] | Image.Image | NDArray[Any]
"""One picture: its path, an http(s) address, its encoded content (bytes), a file open for reading,
a `PIL.Image.Image`, or an array: H x W x 3 in RGB order, H x W x 1 or H x W; floats from 0 to 1,
or bytes. A fourth channel (alpha) is dropped."""

_WHITE = {"u1": 255.0, "u2": 65535.0, "b1": 1.0}


def is_one_picture(pictures: Picture | Iterable[Picture]) -> TypeIs[Picture]:
    """Tell whether this is one picture, and not several."""
    if isinstance(pictures, np.ndarray):
        return pictures.ndim < 4
    return is_path(pictures) or isinstance(pictures, Image.Image) or hasattr(pictures, "read")


def several(pictures: Picture | Iterable[Picture]) -> Iterable[Picture]:
    """Return the pictures to go through; those of one are itself alone.

    Raises
    ------
    ArgumentError
        It is neither a picture nor holds any.
    """
    if is_one_picture(pictures):
        return [pictures]
    if not isinstance(pictures, Iterable):
        raise ArgumentError(f"a picture, or several, are wanted, not {pictures!r:.60}")
    return pictures


def is_address(source: object) -> TypeIs[str]:
    """Tell whether this is a web address (or another that cannot be fetched) and not a path."""
    return isinstance(source, str) and "://" in source


def name_of(picture: Picture) -> str | None:
    """Return what a picture is called, or None where that is not known."""
    if isinstance(picture, bytes):
        return None
    if is_path(picture):
        return path_text(picture)
    name = getattr(picture, "filename", "") or getattr(picture, "name", "")
    return os.fspath(name) if isinstance(name, str | os.PathLike) and name else None


def read_given(picture: Picture, color: bool = True) -> tuple[NDArray[Any], float]:
    """Return a picture's numbers, and what they are to be divided by to lie in 0 to 1.

    Parameters
    ----------
    picture : Picture
        See there.
    color : bool
        RGB if true (grey pictures are repeated), one grey channel if false.

    Returns
    -------
    pixels : numpy.ndarray
        H x W x 3 in RGB order, or H x W x 1 grey.
    white : float
        The number of white.

    Raises
    ------
    ImageError
        It cannot be read.
    FetchError
        The address gives no file.
    ShapeError
        The array has other axes than a picture's.
    """
    if is_address(picture):
        from .addresses import fetch_url

        stream = io.BytesIO(fetch_url(picture))
        stream.name = picture
        return read_pixels(stream, color)
    if isinstance(picture, Image.Image):
        try:
            return pixels_of(picture, color)
        # As in `open_picture`: one that was opened and not read yet may be damaged.
        except Exception as error:
            name = name_of(picture) or "<PIL.Image>"
            raise ImageError(f"{name}: the picture cannot be read: {error}") from error
    if isinstance(picture, np.ndarray):
        return _of_array(picture, color)
    return read_pixels(picture, color)


def _of_array(pixels: NDArray[Any], color: bool) -> tuple[NDArray[Any], float]:
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ShapeError(f"a picture must be H x W x 3, not of shape {pixels.shape}")
    kind = pixels.dtype.str[1:]
    if kind not in _WHITE and pixels.dtype.kind != "f":
        raise ImageError(
            f"an array of {pixels.dtype} is no picture: floats from 0 to 1 are, and bytes (uint8)"
        )
    pixels = pixels[:, :, :3]
    if color and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    elif not color and pixels.shape[2] == 3:
        pixels = (pixels @ GREY_WEIGHTS)[:, :, np.newaxis]
    return pixels, _WHITE.get(kind, 1.0)
