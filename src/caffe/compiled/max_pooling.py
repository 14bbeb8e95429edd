"""Maximum pooling of pictures that lie channels last."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..pytorch import torch
from .code import Code, Number
from .llvm import Job, Kernel, vectors_for, width_within
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

GRADIENT_FIELDS = (
    *("pixels", "height", "width", "step", "top", "left", "down", "across"),
    *("diff", "rows", "columns", "found", "count"),
)
"""What the gradient's kernel is given.

The pixels, how many are below and beside each other, and how many bytes are from one to the next,
in what it makes and in the maxima's gradient, too; by how much the first window begins before them,
and how many pixels lie from one to the next; the maxima's gradient, and how many are below and
beside each other; where the pixels' gradient belongs; and how many pictures there are.
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
        How many the pictures have; of those that `width_within` does not know, see `vectors_for`.
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
        width = width_within(channels)
        vectors = (width, True) if width else vectors_for(channels)
        self._kernel = Kernel(_text(kernel, *vectors, short))
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


class MaxPoolingGradient:
    """The gradient by the pixels: each window's goes to the first of its largest numbers.

    Parameters
    ----------
    kernel, stride, pad : tuple of int
        As of `MaxPooling`.
    channels : int
        How many the pictures have; `width_within` knows them.
    """

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        pad: tuple[int, int],
        channels: int,
    ) -> None:
        width = width_within(channels)
        self._kernel = Kernel(_gradient(kernel, width, channels % width == 0))
        self._stride, self._pad = stride, pad

    def __call__(self, diff: Tensor, x: Tensor) -> Tensor:
        """Return it for the maxima's gradient and the pixels, which both lie channels last."""
        number, channels, height, width = x.shape
        found = x.new_empty(number, height, width, channels)
        self._kernel(
            x.data_ptr(), height, width, 4 * channels, *self._pad, *self._stride,
            diff.data_ptr(), *diff.shape[2:], found.data_ptr(), number,
        )  # fmt: skip
        return found.permute(0, 3, 1, 2)


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
        lines = [code.add(corner, offset) for offset in _lines(code, y, kernel[0])]
        found = code.add(
            given["found"], code.multiply(code.multiply(i, given["columns"]), given["found_step"])
        )
        with code.loop(0, given["columns"]) as column:
            x = code.subtract(code.multiply(column, given["across"]), given["left"])
            places = _columns(code, x, kernel[1])
            window = [code.add(line, place) for line in lines for place in places]
            target = code.add(found, code.multiply(column, given["found_step"]))
            channels = code.vectors if is_whole else code.loop
            with channels(0, given["channels"], width) as first:
                channel = code.multiply(first, code.bytes)
                most = lowest
                for address in window:
                    value = code.value(code.add(address, channel))
                    most = code.larger(value, most, value, most)
                left = None if is_whole else code.subtract(given["channels"], first)
                code.put(most, code.add(target, channel), left)
    return code.text


@functools.cache
def _gradient(kernel: tuple[int, int], width: int, is_whole: bool) -> str:
    code = Code(GRADIENT_FIELDS, width)
    given, zero = code.given, code.constant(0.0)
    row_bytes = code.multiply(given["width"], given["step"])
    with code.shared(given["count"]) as picture:
        before = code.multiply(code.multiply(picture, given["height"]), row_bytes)
        pixels, found = (code.add(given[name], before) for name in ("pixels", "found"))
        with code.loop(0, given["rows"]) as row:
            y = code.subtract(code.multiply(row, given["down"]), given["top"])
            # Lines are cleared when the first window that has them comes, and the rest by the last.
            is_last = code.is_within(code.subtract(given["rows"], code.add(row, 1)), 1)
            is_first = code.is_within(row, 1)
            nothing = code.multiply(row, 0)
            until = code.least(code.add(y, kernel[0]), given["height"])
            since = code.least(
                code.add(code.subtract(y, given["down"]), kernel[0]), given["height"]
            )
            until = code.where([is_last], given["height"], until)
            since = code.where([is_first], nothing, since)
            with code.vectors(
                code.multiply(since, row_bytes), code.multiply(until, row_bytes), 4 * width
            ) as place:
                code.store(zero, code.add(found, place))
            lines = _lines(code, y, kernel[0])
            first = code.multiply(
                code.add(code.multiply(picture, given["rows"]), row), given["columns"]
            )
            with code.loop(0, given["columns"]) as column:
                x = code.subtract(code.multiply(column, given["across"]), given["left"])
                places = _columns(code, x, kernel[1])
                window = [code.add(line, place) for line in lines for place in places]
                diff = code.add(
                    given["diff"], code.multiply(code.add(first, column), given["step"])
                )
                with code.overlapping(0, given["step"], 4 * width) as (channel, before):
                    pixel, target, share = (code.add(a, channel) for a in (pixels, found, diff))
                    done = code.divide(before, 4)[0]
                    _give(code, window, pixel, target, share, None if is_whole else done)
    return code.text


def _give(
    code: Code,
    window: Sequence[Number],
    pixels: Number,
    found: Number,
    diff: Number,
    done: Number | None,
) -> None:
    """Add a window's gradient where the first of its largest numbers is.

    The first channels may be `done` already.
    """
    most, chosen = code.constant(torch.finfo(torch.float32).min), code.constant(-1.0)
    for place, offset in enumerate(window):
        value = code.load(code.add(pixels, offset))
        chosen = code.larger(value, most, code.constant(place), chosen)
        most = code.larger(value, most, value, most)
    gradient, zero = code.load(diff), code.constant(0.0)
    if done is not None:
        gradient = code.first(done, zero, gradient)
    for place, offset in enumerate(window):
        target = code.add(found, offset)
        share = code.same(chosen, code.constant(place), gradient, zero)
        code.store(code.plus(code.load(target), share), target)


def _lines(code: Code, y: Number, count: int) -> list[Number]:
    """How far a window's lines are from the picture's first one, in bytes.

    A pixel at the edge stands for those outside: it is in the window, too.
    """
    given = code.given
    row_bytes = code.multiply(given["width"], given["step"])
    return [
        code.multiply(code.clamped(code.add(y, k), given["height"]), row_bytes)
        for k in range(count)
    ]


def _columns(code: Code, x: Number, count: int) -> list[Number]:
    """The same of a window's pixels, from a line's first one."""
    given = code.given
    return [
        code.multiply(code.clamped(code.add(x, k), given["width"]), given["step"])
        for k in range(count)
    ]
