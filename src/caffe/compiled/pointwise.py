"""What is done to each number by itself, or to two in the same place."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pytorch import F
from .blocks import PLAIN, Finish
from .code import Code
from .llvm import Job, Kernel, vectors_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("rows", "step", "other", "other_step", "found", "found_step", "count", "channels"),
    *("factors", "summands", "each"),
)
"""What the kernel is given: of rows, others and results where they lie, and how many bytes are from
one to the next; how many there are, and of how many channels; factors and summands; and to how many
rows each of the others belongs."""


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
    is_shared : bool
        Whether each row of others belongs to several.
    finish : Finish
        What becomes of that.
    """

    is_affine: bool = False
    has_slopes: bool = False
    other: str = ""
    is_shared: bool = False
    finish: Finish = PLAIN


class Pointwise:
    """Numbers of rows, changed.

    Parameters
    ----------
    how : How
        In which way.
    channels : int
        How many numbers a row has; see `vectors_for`.
    factor, summand : Tensor, optional
        For each channel, where it is affine.
    short : bool
        Whether all others are short numbers.
    """

    def __init__(
        self,
        how: How,
        channels: int,
        factor: Tensor | None = None,
        summand: Tensor | None = None,
        short: bool = False,
    ) -> None:
        vectors, is_whole = vectors_for(channels)
        self._kernel = Kernel(_text(how, vectors, is_whole, short))
        self._channels = channels
        self._kept = [
            None if x is None else F.pad(x, (0, -channels % vectors)).contiguous()
            for x in (factor, summand)
        ]

    def job(
        self, rows: Rows, found: Rows, count: int, other: Rows | None = None, each: int = 1
    ) -> Job:
        """Return what changes so many rows; one of the others belongs to each so many."""
        beside = other or Rows(0, 0)
        return self._kernel.job(
            rows.address, rows.step_bytes, beside.address, beside.step_bytes,
            found.address, found.step_bytes, count, self._channels,
            *(0 if x is None else x.data_ptr() for x in self._kept), each,
        )  # fmt: skip


@functools.cache
def _text(how: How, width: int, is_whole: bool, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given
    with code.shared(given["count"]) as i:
        beside = code.divide(i, given["each"])[0] if how.is_shared else i
        row, other, found = (
            code.add(given[name], code.multiply(number, given[step]))
            for name, step, number in (
                ("rows", "step", i),
                ("other", "other_step", beside),
                ("found", "found_step", i),
            )
        )
        with code.loop(0, given["channels"], width) as channel:
            place, parameter = (code.multiply(channel, size) for size in (code.bytes, 4))
            value = code.value(code.add(row, place))
            if how.is_affine:
                factor, summand = (
                    code.load(code.add(given[name], parameter)) for name in ("factors", "summands")
                )
                value = code.plus(code.times(value, factor), summand)
            if how.has_slopes:
                zero = code.constant(0.0)
                below = code.times(value, code.load(code.add(given["factors"], parameter)))
                value = code.larger(zero, value, below, value)
            if how.other:
                second = code.value(code.add(other, place))
                if how.other == "sum":
                    value = code.plus(value, second)
                elif how.other == "product":
                    value = code.times(value, second)
                else:
                    value = code.larger(value, second, value, second)
            left = None if is_whole else code.subtract(given["channels"], channel)
            code.put(how.finish.write(code, value, None), code.add(found, place), left)
    return code.text
