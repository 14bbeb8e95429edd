"""Which of a bottom's places one place of a top depends on, and where it lies among them.

Through all layers down to the picture that makes the receptive field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction


@dataclass(frozen=True)
class Reach:
    """What places of a top depend on along one axis of a bottom, or of the picture itself.

    Place i depends on the `size` places from ``start + i * stride`` on; where that is no whole
    number, on those that lie inside.

    Attributes
    ----------
    size : int or None
        How many places; None where every place depends on all of them.
    stride : Fraction
        How far the places of two neighbours lie apart; below 1 where the top is the larger one.
    start : Fraction
        Where the first place's begin; below 0 in the padding.
    """

    size: int | None = 1
    stride: Fraction = Fraction(1)
    start: Fraction = Fraction(0)

    def through(self, before: Reach) -> Reach:
        """Return what is reached through this and `before`, which lies under it."""
        size = None
        if self.size is not None and before.size is not None:
            size = before.size + math.ceil((self.size - 1) * before.stride)
        return Reach(size, self.stride * before.stride, before.start + self.start * before.stride)

    def joined(self, other: Reach) -> Reach:
        """Return what a place depends on that depends on both; all where they run apart."""
        if self.size is None or other.size is None or self.stride != other.stride:
            return Reach(None, self.stride, Fraction(0))
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Reach(math.ceil(end - start), self.stride, start)


class Alignment(Enum):
    """How a layer's tops lie on its bottoms, across the picture."""

    KEPT = "kept"
    """Each place on the same place."""

    WINDOWS = "windows"
    """Each place of a top in the middle of a window of the bottom (Convolution, Pooling)."""

    SPREAD = "spread"
    """Each place of the bottom in the middle of a window of the top (Deconvolution)."""

    CUT = "cut"
    """On the first bottom from an offset on; the second one only lends its size (Crop)."""


Along = tuple[Fraction, Fraction]
"""Along one axis: coordinate i of a top lies at the first number times i, plus the second one."""


def middles(reaches: Sequence[Reach]) -> Sequence[Along] | None:
    """Where places lie that lie in the middle of what they depend on; None if that is all."""
    found = []
    for reach in reaches:
        if reach.size is None:
            return None
        found.append((reach.stride, reach.start + Fraction(reach.size - 1, 2)))
    return found


SAME = Reach()
"""A place depends on the one place like it."""


def same_place(bottom: Sequence[int]) -> list[Reach]:
    """One `SAME` for each axis behind the channels."""
    return [SAME] * (len(bottom) - 2)


def all_places(bottom: Sequence[int]) -> list[Reach]:
    """For each axis behind the channels all of its places, seen from a single one."""
    return [Reach(size) for size in bottom[2:]]
