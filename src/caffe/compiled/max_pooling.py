"""Maximum pooling of pictures that lie channels last."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ..pytorch import torch
from .code import Code
from .llvm import Kernel, width_for

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("pixels", "height", "width", "bytes", "top", "left", "down", "across"),
    *("found", "rows", "columns", "count"),
)
"""What the kernel is given.

The pixels, how many are below and beside each other, and how many bytes the channels take; by how
much the first window begins before them, and how many pixels lie from one to the next; the maxima,
how many are below and beside each other, and how many rows of them all pictures have.
"""

MOST_PIXELS = 25
"""How many pixels a window may have: all of them are in the text."""


class MaxPooling:
    """The largest number in each window: -FLT_MAX, or any that is larger; NaN is not.

    Parameters
    ----------
    kernel, stride, pad : tuple of int
        Down and across; each window has a pixel of the picture.
    channels : int
        How many the pictures have; `width_for` knows them.
    """

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pad: tuple[int, int],
        channels: int,
    ) -> None:
        self._kernel = Kernel(_text(kernel, width_for(channels)))
        self._stride, self._pad = stride, pad

    def __call__(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """Return (number, channels, rows, columns) of maxima, channels last, as `x` lies."""
        number, channels, height, width = x.shape
        found = torch.empty(number, rows, columns, channels)
        self._kernel(
            x.data_ptr(), height, width, 4 * channels, *self._pad, *self._stride,
            found.data_ptr(), rows, columns, number * rows,
        )  # fmt: skip
        return found.permute(0, 3, 1, 2)


@functools.cache
def _text(kernel: tuple[int, int], width: int) -> str:
    code = Code(FIELDS, width)
    given = code.given
    lowest = code.constant(torch.finfo(torch.float32).min)
    row_bytes = code.multiply(given["width"], given["bytes"])
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
            given["found"], code.multiply(code.multiply(i, given["columns"]), given["bytes"])
        )
        with code.loop(0, given["columns"]) as column:
            x = code.subtract(code.multiply(column, given["across"]), given["left"])
            places = [
                code.multiply(code.clamped(code.add(x, k), given["width"]), given["bytes"])
                for k in range(kernel[1])
            ]
            window = [code.add(line, place) for line in lines for place in places]
            target = code.add(found, code.multiply(column, given["bytes"]))
            with code.loop(0, given["bytes"], 4 * width) as channel:
                most = lowest
                for address in window:
                    value = code.load(code.add(address, channel))
                    most = code.larger(value, most, value, most)
                code.store(most, code.add(target, channel))
    return code.text
