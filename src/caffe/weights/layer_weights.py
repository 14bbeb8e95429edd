"""A layer's trained parameters as a weight file has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import pages

Values = np.ndarray | Callable[[], np.ndarray]
"""A blob's numbers, or what reads them from its file."""


@dataclass(frozen=True, slots=True)
class WeightBlob:
    """A parameter blob as a file has it; its numbers stay there until they are asked for.

    Parameters
    ----------
    shape : tuple of int
        Its extents.
    values : ndarray or callable
        Its numbers.
    legacy : bool
        The shape was given as num, channels, height and width, and is to be compared with a
        net's by its trailing axes.
    gradient : ndarray or callable, optional
        Its gradient, where the file has one.
    """

    shape: tuple[int, ...]
    values: Values
    legacy: bool = False
    gradient: Values | None = None

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def data(self) -> np.ndarray:
        """Its float32 values, flat and perhaps read-only; from the file each time anew.

        Raises
        ------
        ParseError
            The file was changed since it was opened, or is damaged.
        """
        return _read(self.values)

    @property
    def diff(self) -> np.ndarray | None:
        """Its gradient likewise, or None."""
        return None if self.gradient is None else _read(self.gradient)

    def own_data(self) -> np.ndarray:
        """Return `data` as an array that the caller may keep and write into; raises likewise."""
        values = self.data
        if callable(self.values) and values.flags.writeable and values.dtype == np.float32:
            return values.reshape(-1)
        own = new_array(values.size)
        np.copyto(own.reshape(values.shape), values, casting="same_kind")
        return own

    def in_shape(self, shape: tuple[int, ...]) -> WeightBlob:
        """Return the same numbers in another shape."""
        return WeightBlob(shape, self.values)


def in_shapes(
    blobs: Sequence[WeightBlob], shapes: Sequence[tuple[int, ...]]
) -> Sequence[WeightBlob]:
    """Return blobs in a layer's own shapes, where they hold as many numbers.

    Forks write one and the same parameter as (C), (1, C) or (1, C, 1, 1).
    """
    if len(blobs) != len(shapes):
        return blobs
    return [
        blob.in_shape(tuple(shape)) if blob.count == math.prod(shape) else blob
        for blob, shape in zip(blobs, shapes, strict=True)
    ]


def _read(values: Values) -> np.ndarray:
    return values() if callable(values) else values


def new_array(count: int) -> np.ndarray:
    """A flat float32 array that is to be filled."""
    return np.frombuffer(pages.allocate(4 * count), np.float32) if count else np.empty(0, "f4")


@dataclass(slots=True)
class LayerWeights:
    """A layer's name, type and parameter blobs.

    `type` is V2's name; it is empty from HDF5 files, which have none. There, too, a blob is None
    where the file leaves it out because another layer owns it.
    """

    name: str
    type: str
    blobs: list[WeightBlob | None] = field(default_factory=list)
