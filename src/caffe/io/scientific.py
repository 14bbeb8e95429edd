"""What pycaffe's ``caffe.io`` has of scikit-image and SciPy, which are wanted when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from numpy.typing import ArrayLike, NDArray

from ..errors import require

EXTRA = "demo"


def resize(
    image: NDArray[Any],
    output_shape: Sequence[int],
    order: int | None = None,
    mode: str = "reflect",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool | None = None,
    anti_aliasing_sigma: float | Sequence[float] | None = None,
) -> NDArray[Any]:
    """``skimage.transform.resize``; `caffe.io.resize_image` is Caffe's own and needs nothing.

    Raises
    ------
    MissingExtraError
        scikit-image is not installed.
    """
    transform: Any = require("skimage.transform", EXTRA, "caffe.io.resize (or use resize_image)")
    resized: NDArray[Any] = transform.resize(
        image,
        output_shape,
        order=order,
        mode=mode,
        cval=cval,
        clip=clip,
        preserve_range=preserve_range,
        anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )
    return resized


def zoom(
    input: ArrayLike,
    zoom: float | Sequence[float],
    output: Any = None,
    order: int = 3,
    mode: str = "constant",
    cval: float = 0.0,
    prefilter: bool = True,
    grid_mode: bool = False,
) -> NDArray[Any]:
    """``scipy.ndimage.zoom``.

    Raises
    ------
    MissingExtraError
        SciPy is not installed.
    """
    ndimage: Any = require("scipy.ndimage", EXTRA, "caffe.io.zoom (or use resize_image)")
    zoomed: NDArray[Any] = ndimage.zoom(
        input, zoom, output, order, mode, cval, prefilter, grid_mode=grid_mode
    )
    return zoomed


def scikit_image() -> ModuleType:
    """Return the module ``skimage``, with its ``skimage.io``.

    Raises
    ------
    MissingExtraError
        scikit-image is not installed.
    """
    require("skimage.io", EXTRA, "caffe.io.skimage")
    return require("skimage", EXTRA, "caffe.io.skimage")
