"""Rows brought to one length."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

from ..pytorch import F
from .code import Code
from .llvm import Job, Kernel, width
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = ("rows", "step", "found", "found_step", "count", "channels", "summand", "factors")
"""What the kernel is given: rows and results, and how many bytes are from one to the next; how many
there are, and of how many numbers; the bits of what is added to the sums of squares; and factors.
"""


class ToLength:
    """Computes factor * x / sqrt(sum of squares of the row + summand).

    Parameters
    ----------
    summand : float
        As in the formula.
    factors : Tensor
        One for each of a row's numbers. Behind the last row numbers must lie that may be read, for
        as many as a vector has.
    """

    def __init__(self, summand: float, factors: Tensor) -> None:
        (self._summand,) = struct.unpack("<i", struct.pack("<f", summand))
        self._channels = len(factors)
        self._factors = F.pad(factors, (0, -len(factors) % width()))

    def job(self, rows: Rows, found: Rows, count: int) -> Job:
        """Return what brings so many rows to their length."""
        kernel = Kernel(_text(width(), rows.bytes == 2))
        return kernel.job(
            rows.address, rows.step_bytes, found.address, found.step_bytes,
            count, self._channels, self._summand, self._factors.data_ptr(),
        )  # fmt: skip


@functools.cache
def _text(width: int, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given
    zero = code.constant(0.0)
    vectors = code.covering(given["channels"], width)
    summand = code.everywhere(given["summand"])
    with code.shared(given["count"]) as i:
        row, found = (
            code.add(given[name], code.multiply(i, given[step]))
            for name, step in (("rows", "step"), ("found", "found_step"))
        )
        with code.adding_up(vectors, [zero]) as total:
            number = code.multiply(total.index, width)
            left = code.subtract(given["channels"], number)
            x = code.value(code.add(row, code.multiply(number, code.bytes)))
            x = code.first(left, x, zero)
            total.values = [code.plus_product(total.values[0], x, x)]
        squares = code.all_together(total.values[0])
        length = code.root(code.plus(squares, summand))
        with code.loop(0, given["channels"], width) as number:
            place = code.multiply(number, code.bytes)
            factor = code.load(code.add(given["factors"], code.multiply(number, 4)))
            x = code.over(code.value(code.add(row, place)), length)
            left = code.subtract(given["channels"], number)
            code.put(code.times(x, factor), code.add(found, place), left)
    return code.text
