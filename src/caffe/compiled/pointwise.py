"""What is done to each number by itself, or to two in the same place."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .blocks import PLAIN, Finish
from .code import Code
from .llvm import Job, Kernel, width_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("rows", "step", "other", "other_step", "found", "found_step", "count", "bytes"),
    *("factors", "summands"),
)
"""What the kernel is given: of rows, others and results where they lie, and how many bytes are from
one to the next; how many there are, and how many bytes one takes; and factors and summands."""


@dataclass(frozen=True)
class How:
    """What is done: times factors and plus summands, with other numbers, and finished.

    Attributes
    ----------
    is_affine : bool
        Whether there are factors and summands.
    has_slopes : bool
        Whether numbers below 0 are multiplied by a factor of their channel.
    other : {"", "sum", "product", "most"}
        What becomes of the numbers and others.
    finish : Finish
        What becomes of that.
    """

    is_affine: bool = False
    has_slopes: bool = False
    other: str = ""
    finish: Finish = PLAIN


class Pointwise:
    """Numbers of rows, changed.

    Parameters
    ----------
    how : How
        In which way.
    channels : int
        How many numbers a row has; `width_for` knows them.
    factor, summand : Tensor, optional
        For each channel, where it is affine.
    """

    def __init__(
        self, how: How, channels: int, factor: Tensor | None = None, summand: Tensor | None = None
    ) -> None:
        self._kernel = Kernel(_text(how, width_for(channels)))
        self._channels = channels
        self._kept = [None if x is None else x.contiguous() for x in (factor, summand)]

    def job(self, rows: Rows, found: Rows, count: int, other: Rows | None = None) -> Job:
        """Return what changes so many rows."""
        beside = other or Rows(0, 0)
        return self._kernel.job(
            rows.address, 4 * rows.step, beside.address, 4 * beside.step,
            found.address, 4 * found.step, count, 4 * self._channels,
            *(0 if x is None else x.data_ptr() for x in self._kept),
        )  # fmt: skip


@functools.cache
def _text(how: How, width: int) -> str:
    code = Code(FIELDS, width)
    given = code.given
    with code.shared(given["count"]) as i:
        row, other, found = (
            code.add(given[name], code.multiply(i, given[step]))
            for name, step in (("rows", "step"), ("other", "other_step"), ("found", "found_step"))
        )
        with code.loop(0, given["bytes"], 4 * width) as channel:
            value = code.load(code.add(row, channel))
            if how.is_affine:
                factor, summand = (
                    code.load(code.add(given[name], channel)) for name in ("factors", "summands")
                )
                value = code.plus(code.times(value, factor), summand)
            if how.has_slopes:
                zero = code.constant(0.0)
                below = code.times(value, code.load(code.add(given["factors"], channel)))
                value = code.larger(zero, value, below, value)
            if how.other:
                beside = code.load(code.add(other, channel))
                if how.other == "sum":
                    value = code.plus(value, beside)
                elif how.other == "product":
                    value = code.times(value, beside)
                else:
                    value = code.larger(value, beside, value, beside)
            code.store(how.finish.write(code, value, None), code.add(found, channel))
    return code.text
