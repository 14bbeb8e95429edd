"""Convolutions of each channel by itself, and means of windows, channels last."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..pytorch import F, torch
from .blocks import Finish
from .code import Code, Condition, Number
from .convolving import Windows
from .llvm import Job, Kernel, vectors_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("pixels", "height", "width", "step", "channels", "top", "left", "down", "across"),
    *("found", "found_step", "rows", "columns", "count", "weights", "biases", "zeros"),
)
"""What the kernel of a depthwise convolution is given.

The pixels, how many are below and beside each other, how many bytes are from one to the next, and
how many channels they have; by how much the first window begins before them, and how many pixels
lie from one to the next; the results, how many bytes are from one to the next, how many are below
and beside each other, and how many rows of them all pictures have; weights, biases, and zeros for
what is outside.
"""

MOST_PIXELS = 49
"""How many pixels a window may have: all of them are in the text."""


BESIDE = 4
"""How many results beside each other are computed together."""


class Depthwise:
    """A convolution whose every channel has a kernel of its own, finished.

    Parameters
    ----------
    weights : Tensor
        (channel, 1, height, width), float32; of the channels see `vectors_for`.
    bias : Tensor
        (channel,).
    windows : Windows
        Which.
    finish : Finish
        What becomes of the sums; nothing is added.
    short : bool
        Whether pictures and results are short numbers.
    """

    def __init__(
        self,
        weights: Tensor,
        bias: Tensor,
        windows: Windows,
        finish: Finish,
        short: bool = False,
    ) -> None:
        self._channels, self._windows = len(weights), windows
        vectors, is_whole = vectors_for(self._channels)
        beside = min(BESIDE, windows.results[1])
        self._kernel = Kernel(
            _text(
                windows.kernel, windows.dilation, windows.stride[1], beside, vectors, is_whole,
                finish, short,
            )
        )  # fmt: skip
        behind = 0, -self._channels % vectors
        self._weights = F.pad(weights.flatten(1).t().flatten(), behind)
        self._bias = F.pad(bias, behind)
        self._zeros = torch.zeros(self._channels + behind[1], dtype=torch.float32)

    def job(self, x: Rows, size: tuple[int, int], number: int, found: Rows) -> Job:
        """Return what convolves so many pictures of a height and width."""
        windows = self._windows
        return self._kernel.job(
            x.address, *size, x.step_bytes, self._channels, *windows.pad, *windows.stride,
            found.address, found.step_bytes, *windows.results, number * windows.results[0],
            self._weights.data_ptr(), self._bias.data_ptr(), self._zeros.data_ptr(),
        )  # fmt: skip


def _addresses(
    code: Code, line: Number, is_line: Condition, x: Number, offsets: Sequence[int]
) -> dict[int, Number]:
    """Where the pixels of a line lie that are so far from x: zeros for those outside."""
    given = code.given
    places = {offset: code.add(x, offset) for offset in offsets}
    return {
        offset: code.where(
            [is_line, code.is_within(place, given["width"])],
            code.add(line, code.multiply(place, given["step"])),
            given["zeros"],
        )
        for offset, place in places.items()
    }


@functools.cache
def _text(
    kernel: tuple[int, int],
    dilation: tuple[int, int],
    stride: int,
    beside: int,
    width: int,
    is_whole: bool,
    finish: Finish,
    short: bool,
) -> str:
    """The kernel for `beside` results beside each other at a time."""
    code = Code(FIELDS, width, short)
    given = code.given
    # Each pixel is read once for all of the windows that have it.
    offsets = [[stride * b + dilation[1] * k for k in range(kernel[1])] for b in range(beside)]
    needed = sorted({offset for window in offsets for offset in window})
    weights_bytes = code.multiply(given["channels"], 4)
    line_bytes = code.multiply(given["width"], given["step"])
    with code.shared(given["count"]) as i:
        picture, row = code.divide(i, given["rows"])
        y = code.subtract(code.multiply(row, given["down"]), given["top"])
        first = code.add(code.multiply(picture, given["height"]), y)
        corner = code.add(given["pixels"], code.multiply(first, line_bytes))
        lines = [
            (
                code.add(corner, code.multiply(line_bytes, k * dilation[0])),
                code.is_within(code.add(y, k * dilation[0]), given["height"]),
            )
            for k in range(kernel[0])
        ]
        found = code.add(
            given["found"], code.multiply(code.multiply(i, given["columns"]), given["found_step"])
        )
        with code.loop(0, given["columns"], beside) as start:
            # The last ones are computed again where they are fewer.
            column = code.least(start, code.subtract(given["columns"], beside))
            x = code.subtract(code.multiply(column, given["across"]), given["left"])
            window = [_addresses(code, line, is_line, x, needed) for line, is_line in lines]
            target = code.add(found, code.multiply(column, given["found_step"]))
            with code.loop(0, given["channels"], width) as channel:
                channels, parameter = (code.multiply(channel, size) for size in (code.bytes, 4))
                totals = [code.load(code.add(given["biases"], parameter))] * beside
                weight = code.add(given["weights"], parameter)
                for addresses in window:
                    pixels = {
                        offset: code.value(code.add(address, channels))
                        for offset, address in addresses.items()
                    }
                    for k in range(kernel[1]):
                        factor = code.load(weight)
                        weight = code.add(weight, weights_bytes)
                        totals = [
                            code.plus_product(total, pixels[offsets[b][k]], factor)
                            for b, total in enumerate(totals)
                        ]
                left = None if is_whole else code.subtract(given["channels"], channel)
                for b, total in enumerate(totals):
                    place = code.add(target, code.multiply(given["found_step"], b))
                    code.put(finish.write(code, total, None), code.add(place, channels), left)
    return code.text
