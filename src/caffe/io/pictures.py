"""Pictures as arrays: reading, resizing and cropping them as Caffe does."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.util import find_spec
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import CaffeError, CaffeWarning, ImageError, MissingImageError, ShapeError, require
from ..guarded import guarded
from ..paths import PathLike, is_path, path_text

Dims = Sequence[int] | NDArray[np.integer[Any]]
"""A height and a width."""

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


@guarded
def resize_image(im: ArrayLike, new_dims: Dims, interp_order: int = 1) -> NDArray[np.float32]:
    """Resize an H x W x K array as Caffe does: plain bilinear, without anti-aliasing.

    Pictures of one or three channels are sampled at pixel centres; what lies outside the picture
    counts as its smallest value, so that enlarging darkens the border a little. Other channel
    counts are sampled on a grid whose corners are those of the picture. Both are what Caffe got
    from scikit-image and SciPy, and what the published figures were made with.

    Parameters
    ----------
    im : array
        H x W x K, any number type, any range; not changed.
    new_dims : (int, int)
        The new height and width.
    interp_order : int
        0 for the nearest pixel, 1 for bilinear. Higher orders are handed to scikit-image or, for
        other channel counts than 1 and 3, to SciPy, if they are installed.

    Returns
    -------
    numpy.ndarray
        new height x new width x K, float32, in the range of `im`.

    Raises
    ------
    ShapeError
        `im` is not H x W x K or is empty, or `new_dims` is not two positive integers.
    MissingExtraError
        `interp_order` is above 1 and scikit-image is not installed.

    Examples
    --------
    >>> resize_image(np.array([[[0.0], [1.0]]]), (1, 4))[0, :, 0].tolist()
    [0.0, 0.25, 0.75, 0.75]
    """
    image = np.asarray(im)
    if image.ndim != 3 or image.size == 0:
        raise ShapeError(f"resize_image takes an H x W x K array, not one of shape {image.shape}")
    height, width = _check_dims(new_dims, "new_dims")
    if interp_order not in range(6):
        raise CaffeError(f"resize_image: interp_order is {interp_order!r}, must be 0 to 5")
    if image.shape[:2] == (height, width):
        return image.astype(np.float32)
    if interp_order > 1:
        return _resize_by_spline(image, (height, width), interp_order)
    if interp_order == 0:
        by_centres = image.shape[2] in (1, 3)
        nearest = [
            np.floor(_sample_points(old, new, by_centres) + 0.5).astype(np.intp)
            for old, new in zip(image.shape[:2], (height, width), strict=True)
        ]
        return image[np.ix_(*nearest)].astype(np.float32)
    return np.ascontiguousarray(resize_planes(image, (height, width)).transpose(1, 2, 0))


def resize_planes(
    image: NDArray[Any],
    dims: tuple[int, int],
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> NDArray[np.float32]:
    """Resize an H x W x K array bilinearly, and compute a window of the result only.

    Parameters
    ----------
    image : array
        H x W x K, not empty.
    dims : (int, int)
        The height and width to resize to.
    rows, columns : slice
        The window.

    Returns
    -------
    numpy.ndarray
        K x rows x columns, float32, the columns side by side in memory.
    """
    height, width, channels = image.shape
    by_centres = channels in (1, 3)
    down = samples_between(height, dims[0], by_centres, *rows.indices(dims[0])[:2])
    along = samples_between(width, dims[1], by_centres, *columns.indices(dims[1])[:2])
    # Only enlarging by centres looks outside, and only then does the smallest value count.
    outside = image.min() if by_centres and (down.looks_outside or along.looks_outside) else 0

    if down.share.size > height:
        # A wide picture of a few rows would take many times its memory: leave out what is not read.
        image, along = _columns_read(image, along)
        width = image.shape[1]
    # Rows first: whole ones are quick to gather, and what they leave for the columns is less.
    flat = image.reshape(height, width * channels)
    mixed, below = (
        flat.take(samples, axis=0).astype(np.float32, copy=False)
        for samples in (down.first, down.second)
    )
    _mix(mixed, below, down.share[:, np.newaxis], (down.no_first, down.no_second), outside)

    planes, right = (np.empty((len(mixed), channels, along.share.size), np.float32) for _ in "12")
    for samples, into in ((along.first, planes), (along.second, right)):
        places = samples * channels + np.arange(channels)[:, np.newaxis]
        # Of the modes this is the quickest; no place is one that it would wrap.
        mixed.take(places, axis=1, out=into, mode="wrap")
    beyond = [(..., samples) for samples in (along.no_first, along.no_second)]
    _mix(planes, right, along.share, beyond, outside)
    if not by_centres and np.issubdtype(image.dtype, np.integer):
        # SciPy's zoom answers integers with integers, halves rounded away from zero.
        planes = np.trunc(planes + np.copysign(np.float32(0.5), planes))
    resized: NDArray[np.float32] = planes.transpose(1, 0, 2)
    return resized


def _check_dims(dims: Dims, name: str) -> tuple[int, int]:
    values = np.asarray(dims)
    if values.shape != (2,) or values.dtype.kind not in "iuf" or (values != values // 1).any():
        raise ShapeError(f"{name} must be a height and a width, not {dims!r}")
    if (values < 1).any():
        raise ShapeError(f"{name} must be positive, not {dims!r}")
    return int(values[0]), int(values[1])


def _sample_points(old: int, new: int, by_centres: bool) -> NDArray[np.float64]:
    """Where, in old pixels, each of `new` pixels takes its value."""
    points = np.arange(new, dtype=np.float64)
    if by_centres:
        return (points + 0.5) * (old / new) - 0.5
    return points * ((old - 1) / (new - 1)) if new > 1 else points


class Samples(NamedTuple):
    """Along one axis: the two pixels that each new one lies between.

    `share` is how much the second counts. Where there is no such pixel, the nearest stands for
    it, and `no_first` and `no_second` say which new pixels that concerns.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    share: NDArray[np.float32]
    no_first: NDArray[np.intp]
    no_second: NDArray[np.intp]

    @property
    def looks_outside(self) -> bool:
        """Whether a pixel is asked for that is not there."""
        return self.no_first.size + self.no_second.size > 0


@lru_cache(maxsize=256)
def samples_between(old: int, new: int, by_centres: bool, start: int, stop: int) -> Samples:
    """The samples of the new pixels from `start` to `stop`; pictures often share their sizes."""
    points = _sample_points(old, new, by_centres)[start:stop]
    first = np.floor(points).astype(np.intp)
    second = first + 1
    return Samples(
        np.clip(first, 0, old - 1),
        np.clip(second, 0, old - 1),
        (points - first).astype(np.float32),
        np.flatnonzero((first < 0) | (first >= old)),
        np.flatnonzero((second < 0) | (second >= old)),
    )


def _columns_read(image: NDArray[Any], along: Samples) -> tuple[NDArray[Any], Samples]:
    """The picture without the columns that no sample takes, and the samples of what is left."""
    if image.shape[1] <= 2 * along.share.size:
        return image, along
    read, places = np.unique(np.concatenate([along.first, along.second]), return_inverse=True)
    first, second = np.split(places.ravel(), 2)
    return image[:, read], along._replace(first=first, second=second)


def _mix(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    share: NDArray[np.float32],
    beyond: Sequence[Any],
    outside: float,
) -> None:
    """Turn `first` into ``first + (second - first) * share``; `second` is overwritten.

    The places `beyond` the picture, of each of the two, count as `outside`.
    """
    for values, places in zip((first, second), beyond, strict=True):
        values[places] = outside
    second -= first
    second *= share
    first += second


def _resize_by_spline(
    image: NDArray[Any], dims: tuple[int, int], order: int
) -> NDArray[np.float32]:
    purpose = f"resizing with interp_order {order}"
    if image.shape[2] not in (1, 3):
        zoom = require("scipy.ndimage", "demo", purpose).zoom
        scale = (dims[0] / image.shape[0], dims[1] / image.shape[1], 1)
        zoomed: NDArray[np.float32] = zoom(image, scale, order=order).astype(np.float32)
        return zoomed
    low, high = float(image.min()), float(image.max())
    if not high > low:
        return np.full((*dims, image.shape[2]), low, dtype=np.float32)
    resize = require("skimage.transform", "demo", purpose).resize
    between = resize(
        (image - low) / (high - low), dims, order=order, mode="constant", anti_aliasing=False
    )
    resized: NDArray[np.float32] = (between * (high - low) + low).astype(np.float32)
    return resized


def ten_crops(dims: Dims, crop_dims: Dims) -> list[tuple[slice, slice]]:
    """Rows and columns of the four corners and the centre of a picture, in Caffe's order.

    Parameters
    ----------
    dims, crop_dims : (int, int)
        Height and width of the picture, and of the crop.

    Returns
    -------
    list of (slice, slice)
        Top left, top right, bottom left, bottom right, centre: five, which with their mirror
        images make ten.

    Raises
    ------
    ShapeError
        The crop is larger than the picture.
    """
    height, width = _check_dims(dims, "image_dims")
    crop_height, crop_width = _check_dims(crop_dims, "crop_dims")
    down, right = height - crop_height, width - crop_width
    if down < 0 or right < 0:
        raise ShapeError(
            f"a crop of {crop_height} x {crop_width} does not fit into a picture of "
            f"{height} x {width}"
        )
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    return [(slice(y, y + crop_height), slice(x, x + crop_width)) for y, x in corners]


@guarded
def oversample(
    images: Sequence[NDArray[Any]] | NDArray[Any], crop_dims: Dims
) -> NDArray[np.float32]:
    """Cut ten crops out of each picture: four corners, centre, and the five mirrored.

    Parameters
    ----------
    images : sequence of arrays
        H x W x K each, all of one shape.
    crop_dims : (int, int)
        Height and width of the crops.

    Returns
    -------
    numpy.ndarray
        10 N x crop height x crop width x K, float32; a picture's crops are top left, top right,
        bottom left, bottom right, centre, then the same mirrored left to right.

    Raises
    ------
    ShapeError
        There are no pictures, their shapes differ, or the crop does not fit.

    Examples
    --------
    >>> oversample([np.zeros((256, 256, 3))], (227, 227)).shape
    (10, 227, 227, 3)
    """
    if len(images) == 0:
        raise ShapeError("oversample was given no pictures")
    shape = np.shape(images[0])
    if len(shape) != 3:
        raise ShapeError(f"oversample takes pictures of H x W x K, not of shape {shape}")
    windows = ten_crops(shape[:2], crop_dims)
    rows, columns = windows[0]
    crops = np.empty((len(images), 10, rows.stop, columns.stop, shape[2]), dtype=np.float32)
    for number, image in enumerate(images):
        if np.shape(image) != shape:
            raise ShapeError(
                f"oversample takes pictures of one shape: number {number} has "
                f"{np.shape(image)}, number 0 has {shape}"
            )
        for place, window in enumerate(windows):
            crops[number, place] = np.asarray(image)[window]
        crops[number, 5:] = crops[number, :5, :, ::-1]
    return crops.reshape(-1, *crops.shape[2:])
