"""Maximum pooling of pictures that lie channels last."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ..pytorch import torch
from .code import Code
from .llvm import Job, Kernel, vectors_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("pixels", "height", "width", "step", "channels", "top", "left", "down", "across"),
    *("found", "found_step", "rows", "columns", "count"),
)
"""What the kernel is given.

The pixels, how many are below and beside each other, how many bytes are from one to the next, and
how many channels they have; by how much the first window begins before them, and how many pixels
lie from one to the next; the maxima, how many bytes are from one to the next, how many are below
and beside each other, and how many rows of them all pictures have.
"""

MOST_PIXELS = 25
"""How many pixels a window may have: all of them are in the text."""


class MaxPooling:
    """The largest number in each window: the lowest finite one, or any that is larger; NaN is not.

    Parameters
    ----------
    kernel, stride, pad : tuple of int
        Down and across; each window has a pixel of the picture.
    channels : int
        How many the pictures have; see `vectors_for`.
    short : bool
        Whether they are short numbers.
    """

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pad: tuple[int, int],
        channels: int,
        short: bool = False,
    ) -> None:
        self._kernel = Kernel(_text(kernel, *vectors_for(channels), short))
        self._stride, self._pad, self._channels = stride, pad, channels

    def __call__(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Return (number, channels, rows, columns) of maxima, channels last, as `x` lies."""
        number, channels, height, width = x.shape
        found = x.new_empty(number, rows, columns, channels)
        pixels = Rows(x.data_ptr(), channels), Rows(found.data_ptr(), channels)
        self.job(pixels[0], (height, width), number, pixels[1], (rows, columns)).run()
        return found.permute(0, 3, 1, 2)

    def job(
        self, x: Rows, size: tuple[int, int], number: int, found: Rows, results: tuple[int, int]
    ) -> Job:
        """Return what pools so many pictures of a height and width to so many results."""
        return self._kernel.job(
            x.address, *size, x.step_bytes, self._channels, *self._pad, *self._stride,
            found.address, found.step_bytes, *results, number * results[0],
        )  # fmt: skip


@functools.cache
def _text(kernel: tuple[int, int], width: int, is_whole: bool, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given
    lowest = code.constant(torch.finfo(torch.bfloat16 if short else torch.float32).min)
    row_bytes = code.multiply(given["width"], given["step"])
    with code.shared(given["count"]) as i:
        picture, row = code.divide(i, given["rows"])
        y = code.subtract(code.multiply(row, given["down"]), given["top"])
        corner = code.add(
            given["pixels"], code.multiply(code.multiply(picture, given["height"]), row_bytes)
        )
        lines = [
            # A pixel at the edge stands for those outside: it is in the window, too.
            code.add(
                corner, code.multiply(code.clamped(code.add(y, k), given["height"]), row_bytes)
            )
            for k in range(kernel[0])
        ]
        found = code.add(
            given["found"], code.multiply(code.multiply(i, given["columns"]), given["found_step"])
        )
        with code.loop(0, given["columns"]) as column:
            x = code.subtract(code.multiply(column, given["across"]), given["left"])
            places = [
                code.multiply(code.clamped(code.add(x, k), given["width"]), given["step"])
                for k in range(kernel[1])
            ]
            window = [code.add(line, place) for line in lines for place in places]
            target = code.add(found, code.multiply(column, given["found_step"]))
            with code.loop(0, given["channels"], width) as first:
                channel = code.multiply(first, code.bytes)
                most = lowest
                for address in window:
                    value = code.value(code.add(address, channel))
                    most = code.larger(value, most, value, most)
                left = None if is_whole else code.subtract(given["channels"], first)
                code.put(most, code.add(target, channel), left)
    return code.text
