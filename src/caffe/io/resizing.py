"""Pictures resized and cropped as Caffe does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CaffeError, ShapeError, require
from ..guarded import guarded

Dims = Sequence[int] | NDArray[np.integer[Any]]
"""A height and a width."""


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


def cut_crops(
    image: NDArray[Any], dims: Dims, crop: Dims, oversample: bool, white: float = 1.0
) -> list[NDArray[np.float32]]:
    """Resize a picture, and cut its middle or its ten crops out.

    Parameters
    ----------
    image : array
        Height x width x channels, not empty.
    dims, crop : (int, int)
        Height and width of the resized picture, and of the crops.
    oversample, white
        See `recipe.PictureRecipe.apply`.

    Returns
    -------
    list of numpy.ndarray
        Channels x height x width each, float32; the ten share their memory.

    Raises
    ------
    ShapeError
        The crop is larger than the picture.
    """
    windows = ten_crops(dims, crop)
    # Only what is cut out is computed.
    rows, columns = (slice(None), slice(None)) if oversample else windows[4]
    size = (int(dims[0]), int(dims[1]))
    if image.shape[:2] == size:
        planes = image[rows, columns].astype(np.float32).transpose(2, 0, 1)
    else:
        planes = resize_planes(image, size, rows, columns)
    if white != 1:
        planes /= np.float32(white)
    if not oversample:
        return [planes]
    crops = [planes[:, rows, columns] for rows, columns in windows]
    return crops + [crop[:, :, ::-1] for crop in crops]


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
