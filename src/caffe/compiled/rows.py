"""Where numbers lie that kernels are given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Rows:
    """Rows of numbers: the first one's address, and how far the next one is, in numbers.

    Pixels that lie channels last are rows, too.

    Attributes
    ----------
    batch : int
        How far the next matrix's are.
    """

    address: int
    step: int
    batch: int = 0


@dataclass
class Pictures:
    """Pictures' pixels: the first one's address, and how many numbers are from each to the next.

    Attributes
    ----------
    size : tuple of int
        The height and the width.
    step, line, picture : int
        How many numbers are from one pixel, line and picture to the next.
    """

    address: int
    size: tuple[int, int]
    step: int
    line: int
    picture: int

    @classmethod
    def of(cls, pixels: Rows, size: tuple[int, int]) -> Pictures:
        """Return pictures of a height and width that lie channels last, one behind the other."""
        height, width = size
        line = width * pixels.step
        return cls(pixels.address, size, pixels.step, line, height * line)
