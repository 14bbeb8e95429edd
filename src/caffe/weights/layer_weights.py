"""A layer's trained parameters as a weight file has them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True)
class WeightBlob:
    """A parameter blob as a file has it.

    Attributes
    ----------
    shape : tuple of int
        Its extents.
    data : ndarray
        Its float32 values, flat; possibly a read-only, unaligned view of the file.
    legacy : bool
        The shape was given as num, channels, height and width, and is to be compared with a
        net's by its trailing axes.
    diff : ndarray or None
        Its gradient, where the file has one.
    """

    shape: tuple[int, ...]
    data: np.ndarray
    legacy: bool = False
    diff: np.ndarray | None = None


@dataclass(slots=True)
class LayerWeights:
    """A layer's name, type and parameter blobs.

    `type` is V2's name; it is empty from HDF5 files, which have none. There, too, a blob is None
    where the file leaves it out because another layer owns it.
    """

    name: str
    type: str
    blobs: list[WeightBlob | None] = field(default_factory=list)
