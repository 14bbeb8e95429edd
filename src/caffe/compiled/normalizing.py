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

FIELDS = ("pixels", "step", "found", "found_step", "count", "bytes", "constant", "factor")
"""What the kernel is given: the pixels, and the results, and how many bytes are from one to the
next; how many there are, and how many bytes the channels of one take; the bits of what is added to
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
    """

    def __init__(self, size: int, alpha: float, k: float, channels: int) -> None:
        self._kernel = Kernel(_text(size, width_for(channels)))
        self._channels = channels
        self._bits = [struct.unpack("<i", struct.pack("<f", x))[0] for x in (k, alpha / size)]

    def __call__(self, pixels: Tensor, found: Tensor) -> None:
        """Write what becomes of `pixels`, (number, channels), into `found`."""
        count, channels = pixels.shape
        self.job(Rows(pixels.data_ptr(), channels), Rows(found.data_ptr(), channels), count).run()

    def job(self, pixels: Rows, found: Rows, count: int) -> Job:
        """Return what normalizes so many pixels."""
        return self._kernel.job(
            pixels.address, 4 * pixels.step, found.address, 4 * found.step,
            count, 4 * self._channels, *self._bits,
        )  # fmt: skip


@functools.cache
def _text(size: int, width: int) -> str:
    code = Code(FIELDS, width)
    given = code.given
    step, before = 4 * width, 4 * (size // 2)
    constant, factor = code.everywhere(given["constant"]), code.everywhere(given["factor"])
    # Zeros stand beside the channels, so that every window is whole.
    squares = code.memory(code.add(given["bytes"], 2 * before + step))
    zeros = code.constant(0.0)
    code.store(zeros, squares)
    code.store(zeros, code.add(code.add(squares, given["bytes"]), before))
    with code.shared(given["count"]) as i:
        pixel, found = (
            code.add(given[name], code.multiply(i, given[step]))
            for name, step in (("pixels", "step"), ("found", "found_step"))
        )
        with code.loop(0, given["bytes"], step) as channel:
            x = code.load(code.add(pixel, channel))
            code.store(code.times(x, x), code.add(code.add(squares, channel), before))
        with code.loop(0, given["bytes"], step) as channel:
            first = code.add(squares, channel)
            near = [code.load(code.add(first, 4 * k)) for k in range(size)]
            base = code.plus(constant, code.times(code.total([1.0] * size, near), factor))
            root = code.root(base)
            # Roots and a division cost less than a power.
            power = code.times(root, code.root(root))
            x = code.load(code.add(pixel, channel))
            code.store(code.over(x, power), code.add(found, channel))
    return code.text
