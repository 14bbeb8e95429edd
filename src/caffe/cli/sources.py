"""Where a command's pictures come from: files, folders, web addresses, standard input."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..errors import CaffeError, ImageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STANDARD_INPUT = "-"


def find_pictures(arguments: Iterable[str], refuse: Callable[[str], None]) -> list[str]:
    """The pictures that a command line's arguments mean, folders replaced by their pictures.

    Parameters
    ----------
    arguments : iterable of str
        Paths, folders, web addresses, or "-" for standard input.
    refuse : callable
        Told, in a sentence, of each folder that has no pictures or cannot be read.
    """
    from ..io.folders import SUFFIXES, walk_pictures

    def tell(error: OSError) -> None:
        refuse(f"{error.filename}: the folder cannot be read: {error.strerror}")

    found: list[str] = []
    for argument in arguments:
        if not os.path.isdir(argument):
            found.append(argument)
            continue
        here = list(walk_pictures(argument, tell))
        if not here:
            refuse(f"{argument}: no pictures in this folder (looked for {' '.join(SUFFIXES)})")
        found += here
    return found


def read_source(source: str, color: bool = True) -> tuple[NDArray[Any], float]:
    """Read a picture's numbers, and what they are to be divided by to lie in 0 to 1.

    Raises
    ------
    FetchError
        The address gives no file.
    ImageError
        What is there is no picture.
    """
    from ..io.given import read_given

    if source == STANDARD_INPUT:
        stream = io.BytesIO(sys.stdin.buffer.read())
        # So that an error can say whose it is.
        stream.name = "standard input"
        return read_given(stream, color)
    if not source:
        raise ImageError("a picture's name is empty")
    try:
        return read_given(source, color)
    except CaffeError:
        raise
    except (OSError, ValueError) as error:
        raise ImageError(f"{source!r}: the picture cannot be read: {error}") from error


def bytes_of(pixels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """A picture's numbers, as `read_source` gives them, as bytes: for drawing as for the net."""
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    scaled = np.clip(pixels / np.float32(white), 0, 1)
    return np.asarray(scaled * 255 + 0.5, np.uint8)
