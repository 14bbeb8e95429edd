"""Local response normalisation across the channels of pixels that lie one after the other."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

from .code import Code
from .llvm import Job, Kernel, width_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = ("pixels", "step", "found", "found_step", "count", "channels", "constant", "factor")
"""What the kernel is given: the pixels, and the results, and how many bytes are from one to the
next; how many there are, and of how many channels; the bits of what is added to
the sums, and multiplied before."""

MOST_CHANNELS = 2**13
"""How many channels a pixel may have: the squares of one lie on the thread's stack."""


class Normalizing:
    """Computes x / (k + alpha / size * sum of squares nearby) ** 0.75, in one pass over memory.

    Parameters
    ----------
    size : int
        Over how many channels squares are summed: an odd number, at most twice a vector's width.
    alpha, k : float
        As in the formula.
    channels : int
        How many the pictures have; `width_for` knows them.
    short : bool
        Whether they are short numbers.
    """

    def __init__(
        self, size: int, alpha: float, k: float, channels: int, short: bool = False
    ) -> None:  # fmt: skip
        self._kernel = Kernel(_text(size, width_for(channels), short))
        self._channels = channels
        self._bits = [struct.unpack("<i", struct.pack("<f", x))[0] for x in (k, alpha / size)]

    def __call__(self, pixels: Tensor, found: Tensor) -> None:
        """Write what becomes of `pixels`, (number, channels), into `found`."""
        count, channels = pixels.shape
        self.job(Rows(pixels.data_ptr(), channels), Rows(found.data_ptr(), channels), count).run()

    def job(self, pixels: Rows, found: Rows, count: int) -> Job:
        """Return what normalizes so many pixels."""
        return self._kernel.job(
            pixels.address, pixels.step_bytes, found.address, found.step_bytes,
            count, self._channels, *self._bits,
        )  # fmt: skip


@functools.cache
def _text(size: int, width: int, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given
    step, before = 4 * width, 4 * (size // 2)
    constant, factor = code.everywhere(given["constant"]), code.everywhere(given["factor"])
    # Zeros stand beside the channels, so that every window is whole.
    squares_bytes = code.multiply(given["channels"], 4)
    squares = code.memory(code.add(squares_bytes, 2 * before + step))
    zeros = code.constant(0.0)
    code.store(zeros, squares)
    code.store(zeros, code.add(code.add(squares, squares_bytes), before))
    with code.shared(given["count"]) as i:
        pixel, found = (
            code.add(given[name], code.multiply(i, given[step]))
            for name, step in (("pixels", "step"), ("found", "found_step"))
        )
        with code.loop(0, given["channels"], width) as channel:
            x = code.value(code.add(pixel, code.multiply(channel, code.bytes)))
            place = code.add(squares, code.multiply(channel, 4))
            code.store(code.times(x, x), code.add(place, before))
        with code.loop(0, given["channels"], width) as channel:
            first = code.add(squares, code.multiply(channel, 4))
            place = code.multiply(channel, code.bytes)
            near = [code.load(code.add(first, 4 * k)) for k in range(size)]
            base = code.plus(constant, code.times(code.total([1.0] * size, near), factor))
            root = code.root(base)
            # Roots and a division cost less than a power.
            power = code.times(root, code.root(root))
            x = code.value(code.add(pixel, place))
            code.put(code.over(x, power), code.add(found, place))
    return code.text
