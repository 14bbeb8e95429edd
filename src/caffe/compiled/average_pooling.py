"""Means of windows of pictures that lie channels last."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .code import Code, Number
from .convolving import Windows
from .llvm import Job, Kernel, vectors_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("pixels", "height", "width", "step", "channels", "top", "left", "down", "across"),
    *("kernel_down", "kernel_across", "found", "found_step", "rows", "columns", "count", "shares"),
)
"""What the kernel is given.

The pixels, how many are below and beside each other, how many bytes are from one to the next, and
how many channels they have; by how much the first window begins before them, and how many pixels
lie from one to the next; how many pixels one has down and across; the results, how many bytes are
from one to the next, how many are below and beside each other, and how many rows of them all
pictures have; and by what each of a picture's sums is multiplied.
"""


class AveragePooling:
    """The sum over each window's pixels that the picture has, times a factor of its own.

    Parameters
    ----------
    windows : Windows
        Which; each has a pixel of the picture.
    shares : Tensor
        A factor for each of a picture's results.
    channels : int
        How many the pictures have; see `vectors_for`.
    short : bool
        Whether they are short numbers.
    """

    def __init__(
        self, windows: Windows, shares: Tensor, channels: int, short: bool = False
    ) -> None:  # fmt: skip
        self._windows, self._channels = windows, channels
        self._kernel = Kernel(_text(*vectors_for(channels), short))
        self._shares = shares.float().contiguous()

    def job(self, x: Rows, size: tuple[int, int], number: int, found: Rows) -> Job:
        """Return what pools so many pictures of a height and width."""
        windows = self._windows
        return self._kernel.job(
            x.address, *size, x.step_bytes, self._channels, *windows.pad, *windows.stride,
            *windows.kernel, found.address, found.step_bytes, *windows.results,
            number * windows.results[0], self._shares.data_ptr(),
        )  # fmt: skip


@functools.cache
def _text(width: int, is_whole: bool, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given

    def inside(first: Number, kernel: str, size: str) -> tuple[Number, Number]:
        """The first pixel of the picture, and how many of its pixels a window has."""
        begin = code.most(first, 0)
        end = code.least(code.add(first, given[kernel]), given[size])
        return begin, code.subtract(end, begin)

    with code.shared(given["count"]) as i:
        picture, row = code.divide(i, given["rows"])
        y = code.subtract(code.multiply(row, given["down"]), given["top"])
        top, height = inside(y, "kernel_down", "height")
        with code.loop(0, given["columns"]) as column:
            x = code.subtract(code.multiply(column, given["across"]), given["left"])
            left, across = inside(x, "kernel_across", "width")
            line = code.add(code.multiply(picture, given["height"]), top)
            first = code.add(code.multiply(line, given["width"]), left)
            corner = code.add(given["pixels"], code.multiply(first, given["step"]))
            place = code.add(code.multiply(row, given["columns"]), column)
            share = code.spread(code.add(given["shares"], code.multiply(place, 4)))
            result = code.add(code.multiply(i, given["columns"]), column)
            target = code.add(given["found"], code.multiply(result, given["found_step"]))
            with code.loop(0, given["channels"], width) as number:
                channel = code.multiply(number, code.bytes)
                with code.adding_up(height, [code.constant(0.0)]) as down:
                    below = code.multiply(down.index, code.multiply(given["width"], given["step"]))
                    first_of_line = code.add(code.add(corner, below), channel)
                    with code.adding_up(across, down.values) as beside:
                        offset = code.multiply(beside.index, given["step"])
                        value = code.value(code.add(first_of_line, offset))
                        beside.values = [code.plus(beside.values[0], value)]
                    down.values = beside.values
                count = None if is_whole else code.subtract(given["channels"], number)
                code.put(code.times(down.values[0], share), code.add(target, channel), count)
    return code.text
