"""Pictures as arrays: reading them as Caffe does."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import CaffeWarning, ImageError, MissingImageError
from ..guarded import guarded
from ..paths import PathLike, is_path, path_text

GREY_WEIGHTS = np.array([0.2125, 0.7154, 0.0721], dtype=np.float32)
"""How much red, green and blue count in a grey value (ITU-R BT.709, as scikit-image has it)."""

# What white is in the Pillow modes that hold more than eight bits.
_WHITE = {"I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0, "I;16N": 65535.0, "I": 2.0**31}

FORMATS = (
    *("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "TGA", "DIB", "SUN"),
    # Pillow's older versions have not heard of it.
    *(["AVIF"] if find_spec("PIL.AvifImagePlugin") else []),
)
"""What is read. Pillow knows more; for some of it (EPS) it starts other programs."""

# The animation of which it was said that one frame is read.
_told: list[str] = []
# How many pixels of a large picture are unpacked at a time.
_BAND = 1 << 22
_TOO_LARGE = "too large a picture: {} (raise PIL.Image.MAX_IMAGE_PIXELS if you trust it)"


@guarded
def load_image(filename: PathLike | IO[bytes], color: bool = True) -> NDArray[np.float32]:
    """Read a picture into an array of floats between 0 (black) and 1 (white).

    An alpha channel is dropped, palettes are looked up, CMYK is converted, 16-bit values are
    scaled by 65535, and of an animation the first frame is taken. An EXIF orientation is not
    applied, as in Caffe. Floating-point TIFF values are handed over as they are.

    Parameters
    ----------
    filename : path, bytes or binary file object
        The picture's path, its encoded content, or a file open for reading. Bytes are content
        and never a path, as they may come from anywhere.
    color : bool
        RGB if true (grey pictures are repeated), one grey channel if false.

    Returns
    -------
    numpy.ndarray
        H x W x 3 in RGB order, or H x W x 1 grey; float32.

    Raises
    ------
    ImageError
        It is no picture, it is damaged, or it has more than ``PIL.Image.MAX_IMAGE_PIXELS``
        pixels. Also an `OSError`; a `FileNotFoundError` where there is no such file.

    Warns
    -----
    CaffeWarning
        It is an animation; said of the first one that a program reads.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> stream = io.BytesIO()
    >>> Image.new("RGB", (4, 2), (255, 0, 0)).save(stream, "PNG")
    >>> image = load_image(stream.getvalue())
    >>> image.shape, image[0, 0].tolist()
    ((2, 4, 3), [1.0, 0.0, 0.0])
    """
    pixels, white = read_pixels(filename, color)
    image: NDArray[np.float32] = np.divide(pixels, np.float32(white), dtype=np.float32)
    return image


def read_pixels(filename: PathLike | IO[bytes], color: bool = True) -> tuple[NDArray[Any], float]:
    """Read a picture as `load_image` does, but leave its numbers as they are stored.

    Returns
    -------
    pixels : numpy.ndarray
        H x W x 3 in RGB order, or H x W x 1 grey; mostly uint8.
    white : float
        What `pixels` are to be divided by.
    """
    with open_picture(filename) as picture:
        read = pixels_of(picture, color)
        moves = _is_animated(picture)
    if moves:
        _tell_of_animations(_picture_source(filename)[0])
    return read


def _is_animated(picture: Image.Image) -> bool:
    # Not of TIFF's pages and of the previews behind a camera's JPEG.
    if picture.format not in ("GIF", "PNG", "WEBP", "AVIF"):
        return False
    try:
        return bool(getattr(picture, "is_animated", False))
    # Only the first frame is wanted: damage in a later one is nobody's business.
    except Exception:
        return False


def _tell_of_animations(name: str) -> None:
    """Warn of the first animation; a folder may have thousands."""
    if not _told:
        _told.append(name)
        text = f"{name}: this is an animation; of animations the first frame is read"
        warnings.warn(text, CaffeWarning, stacklevel=4)


@contextmanager
def open_picture(filename: PathLike | IO[bytes]) -> Iterator[Image.Image]:
    """Open a picture of one of the `FORMATS`; inside the block it may be unpacked.

    Raises
    ------
    ImageError
        As `load_image` does; also in place of whatever is raised inside the block.
    """
    name, source = _picture_source(filename)
    try:
        with Image.open(source, formats=FORMATS) as picture:
            _check_size(picture, name)
            yield picture
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_why_not(source)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: {_TOO_LARGE.format(error)}") from error
    # Pillow's decoders raise anything on a damaged file: OSError, SyntaxError, struct.error ...
    except Exception as error:
        raise ImageError(f"{name}: the picture cannot be read: {error}") from error


def read_content(path: str) -> bytes:
    """Return a picture's file as it is.

    Raises
    ------
    ImageError
        There is no such file, it is no regular one, or it cannot be read.
    """
    name, _ = _picture_source(path)
    try:
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(f"{name}: {error.strerror}") from error


def _why_not(source: str | IO[bytes]) -> str:
    """Why nothing in `FORMATS` could be opened."""
    head = b""
    with suppress(OSError, ValueError):
        if isinstance(source, str):
            with open(source, "rb") as file:
                head = file.read(16)
        else:
            source.seek(0)
            head = source.read(16)
    form = "PDF" if head.startswith(b"%PDF") else _other_format(head)
    if form is None:
        return "not a picture in a format that is read (empty, text or damaged?)"
    return f"this is {form}, which is not read; make it a PNG or JPEG"


def _other_format(head: bytes) -> str | None:
    """What else Pillow takes a file for that begins like this."""
    Image.init()
    for name, (_, accepts) in Image.OPEN.items():
        with suppress(Exception):
            if name not in FORMATS and accepts is not None and accepts(head) is True:
                return name
    return None


def _picture_source(
    filename: PathLike | IO[bytes],
) -> tuple[str, str | IO[bytes]]:
    """A name for messages, and what Pillow is to open."""
    if isinstance(filename, bytes):
        return f"<{len(filename)} bytes>", io.BytesIO(filename)
    if not is_path(filename):
        if not hasattr(filename, "read"):
            raise ImageError(f"{filename!r} is neither a path, nor bytes, nor a file of a picture")
        return str(getattr(filename, "name", "<stream>")), filename
    name = path_text(filename)
    # Opening a pipe or a device could wait for ever.
    if os.path.isfile(name):
        return name, name
    if os.path.isdir(name):
        raise ImageError(f"{name}: a directory, not a picture")
    if os.path.exists(name):
        raise ImageError(f"{name}: not a regular file")
    raise MissingImageError(f"{name}: no such file")


def _check_size(picture: Image.Image, name: str) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    width, height = picture.size
    if limit is not None and width * height > limit:
        sizes = f"{width} x {height} pixels, the limit is {limit}"
        raise ImageError(f"{name}: {_TOO_LARGE.format(sizes)}")


def pixels_of(picture: Image.Image, color: bool = True) -> tuple[NDArray[Any], float]:
    """Unpack an opened picture into what `read_pixels` returns; raises what Pillow does."""
    # Of some TIFFs the sides are swapped when they are unpacked.
    picture.load()
    mode, white = picture.mode, 255.0
    turned = None
    if mode == "F":
        white = 1.0
    elif mode in _WHITE:
        # Pillow hands out some 16-bit pictures as 32-bit integers.
        white = 65535.0 if picture.format in ("PNG", "PPM") else _WHITE[mode]
    elif mode not in ("L", "RGB"):
        turned = "L" if mode in ("1", "LA") else "RGB"
    width, height = picture.size
    rows = max(1, _BAND // width)
    if height <= rows:
        return _band(picture, turned, color), white
    # In one piece a large picture would lie in memory three and four times.
    pixels = None
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = _band(picture.crop((0, top, width, bottom)), turned, color)
        if pixels is None:
            pixels = np.empty((height, *band.shape[1:]), band.dtype)
        pixels[top:bottom] = band
    assert pixels is not None
    return pixels, white


def _band(picture: Image.Image, turned: str | None, color: bool) -> NDArray[Any]:
    pixels = np.asarray(picture if turned is None else picture.convert(turned))
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
        return np.repeat(pixels, 3, axis=2) if color else pixels
    return pixels if color else (pixels @ GREY_WEIGHTS)[:, :, np.newaxis]
