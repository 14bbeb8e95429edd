"""HDF5 data sets as arrays: measured before they are unpacked."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from ..errors import ParseError
from ..pages import MOST_TIMES_UNPACKED
from .layer_weights import new_array


class Allowance:
    """How much may still be unpacked of a file: MOST_TIMES_UNPACKED its size in all.

    Parameters
    ----------
    path : str
        The HDF5 file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._size = os.path.getsize(path)
        self._left = MOST_TIMES_UNPACKED * self._size

    def take(self, dataset: Any, what: str) -> None:
        """Check a data set of numbers by what it says of itself, before anything of it is read.

        Raises
        ------
        ParseError
            It is larger than the file allows, or its values are kept in other files.
        """
        if dataset.external is not None or dataset.is_virtual:
            raise ParseError(f"{what} is kept in other files, which are not read", self._path)
        width = max(dataset.dtype.itemsize, 4)
        chunk = math.prod(dataset.chunks or ())
        self._left -= max(math.prod(dataset.shape), chunk) * width
        if self._left < 0:
            raise ParseError(
                f"{what}: the shape {dataset.shape} is more than a file of {self._size} bytes can "
                f"hold ({MOST_TIMES_UNPACKED} times its size, for all of its data sets)",
                self._path,
            )


def unpack(dataset: Any) -> np.ndarray:
    """Read a data set as float32, in its own shape; raises whatever h5py does."""
    array: np.ndarray = new_array(math.prod(dataset.shape)).reshape(dataset.shape)
    if array.size:
        dataset.read_direct(array)
    return array
