"""Crops of pictures between their pixels, as a net's input has them: one pass over each row.

Each operation rounds as numpy's does in `io.resizing` and `io.recipe`, so that the numbers are the
same to the last bit: nothing is joined, and nothing is left out but what changes no number.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .code import Code, Number, Vector
from .llvm import Kernel, width

CHANNELS = 3

FIELDS = (
    *("pixels", "count", "rows", "columns", "lines", "first", "second", "share"),
    *("line", "item", "numbers", "order"),
)
"""What the kernel is given.

The first byte that is read of the picture's first line, and how many are of each; the size of the
crop; `Places`; room for a line; the results; what numbers are divided by, multiplied by, and
multiplied by in the end, and the channels' means; which of the picture's each channel is.
"""


@dataclass(frozen=True)
class Places:
    """Where the pixels of a crop lie in pictures of one size.

    Attributes
    ----------
    lines : numpy.ndarray
        For each row the two that it lies between, as bytes from the picture's first, and the bits
        of the second one's share; int64.
    first, second : numpy.ndarray
        For each column the two that it lies between, as numbers from `start` on; int32.
    share : numpy.ndarray
        The second one's share, float32.
    start, count : int
        The first byte of a line that is read, and how many are.
    """

    lines: NDArray[np.int64]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    share: NDArray[np.float32]
    start: int
    count: int

    @classmethod
    def between(
        cls,
        down: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]],
        along: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]],
        line: int,
    ) -> Places:
        """Return it of the pixels, and the shares, of each axis, and the bytes of a line."""
        bits = down[2].view(np.int32).astype(np.int64)
        lines = np.stack([down[0] * line, down[1] * line, bits], axis=1).astype(np.int64)
        left, right = int(along[0].min()), int(along[1].max()) + 1
        first, second = ((axis - left) * CHANNELS for axis in along[:2])
        return cls(
            lines,
            first.astype(np.int32),
            second.astype(np.int32),
            np.ascontiguousarray(along[2]),
            left * CHANNELS,
            (right - left) * CHANNELS,
        )

    @property
    def fits(self) -> bool:
        """Whether there is a whole vector in each line that is read, and in each row."""
        return min(self.count, len(self.share)) >= width() > 0


class Sampling:
    """Makes crops of coloured pictures' bytes, in the calling thread; several may do so at once.

    Parameters
    ----------
    steps : sequence of float
        What numbers are divided by, multiplied by, and multiplied by in the end.
    mean : sequence of float
        What is subtracted before that, for each of the net's channels.
    order : sequence of int
        Which of the picture's channels each of the net's is.
    """

    def __init__(self, steps: Sequence[float], mean: Sequence[float], order: Sequence[int]) -> None:
        self._kernel = Kernel(_text(width()))
        self._numbers = np.array([*steps, *mean], np.float32)
        self._order = np.array(order, np.int64)

    def put(self, image: NDArray[np.uint8], places: Places, item: NDArray[np.float32]) -> None:
        """Write a picture's crop, channels x height x width; both must be contiguous."""
        line = np.empty(places.count, np.float32)
        arrays = (places.lines, places.first, places.second, places.share, line, item)
        addresses = [array.ctypes.data for array in (*arrays, self._numbers, self._order)]
        self._kernel.job(
            image.ctypes.data + places.start, places.count, *item.shape[1:], *addresses
        ).run_here()


@functools.cache
def _text(size: int) -> str:
    code = Code(FIELDS, size, exact=True)
    given = code.given
    divisor, factor, last_factor = (
        code.spread(code.add(given["numbers"], 4 * k)) for k in range(3)
    )
    with code.loop(0, given["rows"]) as row:
        _mix_lines(code, row)
        with code.loop(0, CHANNELS) as channel:
            source = code.number(code.add(given["order"], code.multiply(channel, 8)))
            line = code.add(given["line"], code.multiply(source, 4))
            mean = code.spread(code.add(given["numbers"], code.multiply(code.add(channel, 3), 4)))
            before = code.add(code.multiply(channel, given["rows"]), row)
            found = code.multiply(code.multiply(before, given["columns"]), 4)
            with code.vectors(0, given["columns"], size) as column:
                at = code.multiply(column, 4)
                left, right = (
                    code.gathered(line, code.add(given[axis], at)) for axis in ("first", "second")
                )
                share = code.load(code.add(given["share"], at))
                value = code.over(_between(code, left, right, share), divisor)
                value = code.minus(code.times(value, factor), mean)
                target = code.add(code.add(given["item"], found), at)
                code.store(code.times(value, last_factor), target)
    return code.text


def _mix_lines(code: Code, row: Number) -> None:
    """Write what lies between two lines of the picture; the last vector may begin in another."""
    given = code.given
    entry = code.add(given["lines"], code.multiply(row, 24))
    above, below, bits = (code.number(code.add(entry, 8 * k)) for k in range(3))
    share = code.everywhere(bits)
    with code.vectors(0, given["count"], code.width) as at:
        place = code.add(given["pixels"], at)
        upper, lower = (code.bytes_at(code.add(place, line)) for line in (above, below))
        mixed = _between(code, upper, lower, share)
        code.store(mixed, code.add(given["line"], code.multiply(at, 4)))


def _between(code: Code, first: Vector, second: Vector, share: Vector) -> Vector:
    return code.plus(first, code.times(code.minus(second, first), share))
