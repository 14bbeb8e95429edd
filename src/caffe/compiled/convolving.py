"""Convolutions of pictures as products of their windows with the weights."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pytorch import F, torch
from .blocks import Ahead, Block, Finish, Sharing
from .code import Code, Condition, Number, Vector
from .llvm import Job, Kernel, width
from .memory import ANYWHERE, Memory
from .rows import Pictures, Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("pixels", "height", "width", "step", "line", "picture", "weights", "biases"),
    *("found", "found_bytes", "added", "added_bytes", "rows", "outputs", "results_down"),
    *("results_across", "top", "left", "stride_down", "stride_across", "outer", "outer_count"),
    *("outer_rows", "inner", "inner_count", "inner_columns", "steps", "group", "parts"),
    "zeros",
)
"""What the kernel is given.

Of the pictures where they lie and how large they are, and how many bytes are from one pixel, line
and picture to the next; weights and biases; where results lie, and how many bytes are from one to
the next; what is added; how many results there are in all pictures, of how many channels, and how
many a picture has down and across; by how much the first window begins before the picture, and how
many pixels lie from one to the next; of both loops over a window how many bytes each step goes on,
how many there are, and how many lines or columns that is; how many steps there are over what lies
side by side, each a number or two short ones; how many blocks of rows stay in the cache together,
and into how many parts the columns are parted; and zeros for what is outside.
"""


@dataclass(frozen=True)
class Windows:
    """Which pixels a result is made of.

    Attributes
    ----------
    kernel, stride, pad, dilation : tuple of int
        Down and across.
    results : tuple of int
        How many there are down and across.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    results: tuple[int, int]

    def lie_within(self, size: tuple[int, int]) -> bool:
        """Whether none has a place outside a picture of this size and its padding."""
        both = zip(
            *(size, self.kernel, self.stride, self.pad, self.dilation, self.results), strict=True
        )
        return all(
            (results - 1) * stride + dilation * (kernel - 1) < length + 2 * pad
            for length, kernel, stride, pad, dilation, results in both
        )


class Convolving:
    """A convolution of pictures, finished.

    Parameters
    ----------
    weights : Tensor
        (output, input, height, width), float32.
    bias : Tensor
        (output,).
    windows : Windows
        Which.
    finish : Finish
        What becomes of the sums.
    number : int
        How many pictures there will be.
    plane : int
        How many numbers lie from one channel's plane to the next one's, where pictures lie so, with
        zeros around them that are as wide as the padding; 0 where they lie channels last.
    memory : Memory
        Where its weights lie.
    short : bool
        Whether pictures, results and what is added are short numbers. An odd number of them side by
        side in planes is followed by one that is finite.
    """

    def __init__(
        self,
        weights: Tensor,
        bias: Tensor,
        windows: Windows,
        finish: Finish,
        number: int,
        plane: int = 0,
        memory: Memory = ANYWHERE,
        short: bool = False,
    ) -> None:
        outputs, inputs, height, across = weights.shape
        self._outputs, self._windows = outputs, windows
        self._count = number * windows.results[0] * windows.results[1]
        self._block = block = Block.best(self._count, outputs, width(), short)
        # Of two loops the inner one goes over numbers that lie side by side.
        side_by_side = across if plane else inputs
        self._steps = math.ceil(side_by_side / 2) if short else side_by_side
        is_odd = short and not plane and side_by_side % 2 == 1
        is_whole = outputs % block.columns == 0
        self._kernel = Kernel(_text(block, is_whole, finish, not plane, is_odd))
        rows = weights.permute((0, 1, 2, 3) if plane else (0, 2, 3, 1))
        if short:
            rows = F.pad(rows, (0, side_by_side % 2))
        self._weights = block.packed(rows.reshape(outputs, -1), memory)
        self._biases = block.padded(bias)
        self._counts = (inputs, height) if plane else (height, across)
        self._plane = plane
        self._zeros = torch.zeros(self._steps, dtype=torch.float32)

    def job(self, x: Pictures, found: Rows, added: Rows | None = None) -> Job:
        """Return what convolves pictures; see `Products.job` for what is added."""
        windows, block = self._windows, self._block
        (down, across), (dilated, dilated_across) = windows.results, windows.dilation
        # Windows that lie beside each other have most of their lines' numbers in common.
        apart = min(windows.stride[1], windows.kernel[1])
        row_bytes = x.bytes * block.rows * apart * x.step * windows.kernel[0]
        blocks = block.down(self._count), 1, block.across(self._outputs)
        sharing = Sharing.of(*blocks, row_bytes, 4 * self._weights[0].numel())
        other = added or Rows(0, 0)
        outer, outer_rows = (self._plane, 0) if self._plane else (dilated * x.line, dilated)
        inner, columns_on = (
            (dilated * x.line, 0) if self._plane else (dilated_across * x.step, dilated_across)
        )
        return self._kernel.job(
            x.address, *x.size, *(x.bytes * n for n in (x.step, x.line, x.picture)),
            self._weights.data_ptr(), self._biases.data_ptr(),
            found.address, found.step_bytes, other.address, other.step_bytes,
            self._count, self._outputs, down, across, *windows.pad, *windows.stride,
            x.bytes * outer, self._counts[0], outer_rows,
            x.bytes * inner, self._counts[1], columns_on, self._steps, sharing.group, sharing.parts,
            self._zeros.data_ptr(),
        )  # fmt: skip


@dataclass
class _Window:
    """Where the window of one result begins, and whether there is such a result."""

    address: Number
    y: Number
    x: Number
    exists: Condition


def _windows(code: Code, first: Number, count: int) -> list[_Window]:
    """Where the windows of results begin that follow each other."""
    given = code.given
    rest, across = code.divide(first, given["results_across"])
    picture, down = code.divide(rest, given["results_down"])
    zero, found = code.multiply(first, 0), []
    for k in range(count):
        y = code.subtract(code.multiply(down, given["stride_down"]), given["top"])
        x = code.subtract(code.multiply(across, given["stride_across"]), given["left"])
        lines = code.add(
            code.multiply(picture, given["picture"]),
            code.add(code.multiply(y, given["line"]), code.multiply(x, given["step"])),
        )
        exists = code.is_within(code.add(first, k), given["rows"])
        address = code.where([exists], code.add(given["pixels"], lines), given["pixels"])
        found.append(_Window(address, y, x, exists))
        across, down, picture = _next(code, across, down, picture, zero)
    return found


def _next(
    code: Code, across: Number, down: Number, picture: Number, zero: Number
) -> tuple[Number, Number, Number]:
    """The place of the next result, in the next line or picture where it is."""
    given = code.given
    across = code.add(across, 1)
    is_inside = [code.is_within(across, given["results_across"])]
    down = code.where(is_inside, down, code.add(down, 1))
    across = code.where(is_inside, across, zero)
    is_inside = [code.is_within(down, given["results_down"])]
    picture = code.where(is_inside, picture, code.add(picture, 1))
    return across, code.where(is_inside, down, zero), picture


def _sums(
    code: Code,
    windows: Sequence[_Window],
    block: Number,
    sums: list[Vector],
    weights_ahead: Ahead,
    is_checked: bool,
    is_odd: bool,
    shape: Block,
) -> list[Vector]:
    """The sums over whole windows."""
    given = code.given
    step = code.multiply(given["steps"], 4 * shape.columns)
    # As far as the next results' windows are from these, if they are in the same line.
    further = code.multiply(
        code.multiply(given["stride_across"], given["step"]), len(windows)
    )  # fmt: skip
    share = code.divide(further, given["steps"])[0]
    with code.adding_up(given["outer_count"], sums) as outer:
        offset = code.multiply(outer.index, given["outer"])
        weights = code.add(
            block, code.multiply(code.multiply(outer.index, given["inner_count"]), step)
        )
        line = code.multiply(outer.index, given["outer_rows"])
        lines = [(w, code.add(w.address, offset), _is_line(code, w, line)) for w in windows]
        with code.adding_up(given["inner_count"], outer.values) as inner:
            onward = code.multiply(inner.index, given["inner"])
            column = code.multiply(inner.index, given["inner_columns"])
            rows = []
            for window, address, is_line in lines:
                row = code.add(address, onward)
                if is_checked:
                    is_column = code.is_within(code.add(window.x, column), given["width"])
                    row = code.where([window.exists, is_line, is_column], row, given["zeros"])
                rows.append(row)
            place = code.add(weights, code.multiply(inner.index, step))
            done = code.add(code.multiply(outer.index, given["inner_count"]), inner.index)
            passed = code.multiply(code.multiply(done, given["steps"]), weights_ahead.step)
            ahead = [
                Ahead(code.add(lines[0][1], code.add(onward, further)), share),
                Ahead(code.add(weights_ahead.address, passed), weights_ahead.step),
            ]
            inner.values = shape.add_products(
                code, rows, place, given["steps"], inner.values, ahead, is_odd
            )  # fmt: skip
        outer.values = inner.values
    return outer.values


def _is_line(code: Code, window: _Window, line: Number) -> Condition:
    return code.is_within(code.add(window.y, line), code.given["height"])


@functools.cache
def _text(
    shape: Block, is_whole: bool, finish: Finish, is_checked: bool, is_odd: bool
) -> str:  # fmt: skip
    code = Code(FIELDS, shape.width, shape.short)
    given, size, columns = code.given, shape.rows, shape.columns
    blocks = code.covering(given["rows"], size)
    share = shape.share_of(code, code.covering(blocks, given["group"]))
    window_size = code.multiply(given["outer_count"], given["inner_count"])
    numbers_of_window = code.multiply(window_size, given["steps"])
    block_bytes = code.multiply(numbers_of_window, 4 * columns)
    nowhere = shape.nowhere(code)
    with code.loop(share.start, share.stop) as i, code.loop(share.first, share.last) as j:
        begin = code.multiply(i, given["group"])
        end = code.least(code.add(begin, given["group"]), blocks)
        column = code.multiply(j, 4 * columns)
        block = code.add(given["weights"], code.multiply(column, numbers_of_window))
        sums = shape.biases(code, code.add(given["biases"], column))
        onward = code.divide(block_bytes, code.subtract(end, begin))[0]
        with code.loop(begin, end) as k:
            first = code.multiply(k, size)
            windows = _windows(code, first, size)
            numbers = [code.add(first, r) for r in range(size)]
            next_block = code.add(
                code.add(block, block_bytes), code.multiply(code.subtract(k, begin), onward)
            )
            ahead = Ahead(next_block, code.divide(onward, numbers_of_window)[0])
            result_column = code.multiply(j, code.bytes * columns)
            found, count = code.add(given["found"], result_column), given["rows"]
            shape.prefetch_results(code, found, result_column, k, finish)
            made = _sums(code, windows, block, sums, ahead, is_checked, is_odd, shape)
            left = None if is_whole else code.subtract(given["outputs"], code.multiply(j, columns))
            shape.put_down(code, made, numbers, count, found, result_column, nowhere, finish, left)
    return code.text
