"""Where numbers lie that kernels are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def place_of(array: Tensor) -> range:
    """Return the addresses that an array has, which lies whole."""
    start = array.data_ptr()
    return range(start, start + array.numel() * array.element_size())


@dataclass
class Rows:
    """Rows of numbers: the first one's address, and how far the next one is, in numbers.

    Pixels that lie channels last are rows, too.

    Attributes
    ----------
    batch : int
        How far the next matrix's are.
    bytes : int
        How many a number takes: 2 where they are short, bfloat16; 4 where they are float32.
    """

    address: int
    step: int
    batch: int = 0
    bytes: int = 4

    @property
    def step_bytes(self) -> int:
        """How many bytes are from one row to the next."""
        return self.step * self.bytes

    @property
    def batch_bytes(self) -> int:
        """How many bytes are from one matrix to the next."""
        return self.batch * self.bytes

    def behind(self, columns: int) -> Rows:
        """Return what lies in the same rows behind so many columns."""
        return replace(self, address=self.address + columns * self.bytes)


@dataclass
class Pictures:
    """Pictures' pixels: the first one's address, and how many numbers are from each to the next.

    Attributes
    ----------
    size : tuple of int
        The height and the width.
    step, line, picture : int
        How many numbers are from one pixel, line and picture to the next.
    bytes : int
        How many a number takes.
    """

    address: int
    size: tuple[int, int]
    step: int
    line: int
    picture: int
    bytes: int = 4

    @classmethod
    def of(cls, pixels: Rows, size: tuple[int, int]) -> Pictures:
        """Return pictures of a height and width that lie channels last, one behind the other."""
        height, width = size
        line = width * pixels.step
        return cls(pixels.address, size, pixels.step, line, height * line, pixels.bytes)
