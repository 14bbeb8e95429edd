"""Pictures of another size, channels last: between their pixels, or the nearest ones."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from ..pytorch import torch
from .code import Code, Number
from .llvm import Job, Kernel, vectors_for
from .rows import Rows

FIELDS = (
    *("pixels", "picture", "channels", "lines", "places"),
    *("found", "found_step", "rows", "columns", "count"),
)
"""What the kernel is given.

The pixels, how many bytes are from one picture to the next, and of how many channels; for each row
of results how many bytes two lines lie behind the first, and the second one's share; for each
column the same of two pixels of a line; the results, how many bytes are from one to the next, how
many are below and beside each other, and how many rows of them all pictures have.
"""


@dataclass
class Between:
    """Between which two places results lie along an axis.

    Attributes
    ----------
    first, second : ndarray
        The places.
    share : ndarray
        The second one's share, float32.
    """

    first: np.ndarray
    second: np.ndarray
    share: np.ndarray

    def table(self, step: int) -> torch.Tensor:
        """Return how far the two are, and the bits of the share, for each result."""
        bits = self.share.astype(np.float32).view(np.int32).astype(np.int64)
        return torch.from_numpy(
            np.stack([self.first * step, self.second * step, bits], 1).astype(np.int64)
        )


class Interpolating:
    """Results between four pixels each.

    Parameters
    ----------
    down, across : Between
        Where they lie.
    channels : int
        How many there are; see `vectors_for`.
    short : bool
        Whether pictures and results are short numbers.
    """

    def __init__(self, down: Between, across: Between, channels: int, short: bool = False) -> None:
        self._down, self._across, self._channels = down, across, channels
        self._kernel = Kernel(_text(*vectors_for(channels), short))
        self._kept: list[torch.Tensor] = []

    def job(self, x: Rows, size: tuple[int, int], number: int, found: Rows) -> Job:
        """Return what brings so many pictures of a height and width to the new size."""
        height, width = size
        line = width * x.step_bytes
        lines, places = self._down.table(line), self._across.table(x.step_bytes)
        self._kept += [lines, places]
        return self._kernel.job(
            x.address, height * line, self._channels, lines.data_ptr(), places.data_ptr(),
            found.address, found.step_bytes, len(lines), len(places), number * len(lines),
        )  # fmt: skip


@functools.cache
def _text(width: int, is_whole: bool, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given

    def entry(table: Number, index: Number) -> tuple[Number, Number, Number]:
        place = code.add(table, code.multiply(index, 24))
        first, second, share = (code.number(code.add(place, 8 * k)) for k in range(3))
        return first, second, share

    with code.shared(given["count"]) as i:
        picture, row = code.divide(i, given["rows"])
        start = code.add(given["pixels"], code.multiply(picture, given["picture"]))
        *lines, down = entry(given["lines"], row)
        above, below = (code.add(start, line) for line in lines)
        share_down = code.everywhere(down)
        found = code.add(
            given["found"], code.multiply(code.multiply(i, given["columns"]), given["found_step"])
        )
        with code.loop(0, given["columns"]) as column:
            left, right, across = entry(given["places"], column)
            corners = [code.add(line, x) for line in (above, below) for x in (left, right)]
            share = code.everywhere(across)
            target = code.add(found, code.multiply(column, given["found_step"]))
            with code.loop(0, given["channels"], width) as first:
                channel = code.multiply(first, code.bytes)
                a, b, c, d = (code.value(code.add(corner, channel)) for corner in corners)
                upper = code.plus_product(a, code.minus(b, a), share)
                lower = code.plus_product(c, code.minus(d, c), share)
                value = code.plus_product(upper, code.minus(lower, upper), share_down)
                left_over = None if is_whole else code.subtract(given["channels"], first)
                code.put(value, code.add(target, channel), left_over)
    return code.text
