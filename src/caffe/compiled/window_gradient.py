"""Gradients by weights and bias of convolutions that read few channels: sums over all windows."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

from ..pytorch import torch
from .code import Code, Number, Vector
from .llvm import Kernel, width_within
from .rows import Pictures
from .transposed import SHAPES

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("pixels", "line", "picture", "down", "across", "diff", "step", "rows", "columns"),
    *("pictures", "sums", "part"),
)
"""What the kernel is given.

Of the pictures where they lie, and how many bytes are from one line and picture to the next, and
from one window to that below and beside it; the gradient by the results, how many bytes are from
one to the next, and how many results a picture has down and across; how many pictures there are;
and where the sums belong, for each thread so many bytes behind those of the one before.
"""


class WindowGradient:
    """Adds each number of a window times the gradient by its result, and this gradient, over all.

    Parameters
    ----------
    lines, numbers : int
        How many lines a window has, and how many numbers, of all channels, lie in each.
    outputs : int
        How many channels the results have; `width_within` knows them.
    """

    def __init__(self, lines: int, numbers: int, outputs: int) -> None:
        self._outputs, self._width = outputs, width_within(outputs)
        self._kernel = Kernel(_text(lines, numbers, outputs, self._width))
        self._count = lines * numbers

    def __call__(self, diff: Tensor, x: Pictures, stride: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the gradients by the weights, (number of a window, output), and by the bias.

        Parameters
        ----------
        diff : Tensor
            The gradient by the results, (number, output, height, width), channels last.
        x : Pictures
            With the padding around them.
        stride : tuple of int
            How many pixels are from a window to that below and beside it.
        """
        vectors = math.ceil(self._outputs / self._width)
        threads = torch.get_num_threads()
        sums = diff.new_zeros(threads, self._count + 1, vectors * self._width)
        self._kernel(
            x.address, 4 * x.line, 4 * x.picture, 4 * stride[0] * x.line, 4 * stride[1] * x.step,
            diff.data_ptr(), 4 * self._outputs, *diff.shape[2:], len(diff),
            sums.data_ptr(), 4 * sums[0].numel(),
        )  # fmt: skip
        whole = sums.sum(0) if threads > 1 else sums[0]
        # The last vector begins before, where it would not be whole.
        first = (vectors - 1) * self._width
        last = whole.shape[1] - (self._outputs - first)
        found = torch.cat((whole[:, :first], whole[:, last:]), 1)
        return found[:-1], found[-1]


@functools.cache
def _text(lines: int, numbers: int, outputs: int, width: int) -> str:
    code = Code(FIELDS, width)
    given = code.given
    mine = code.add(given["sums"], code.multiply(code.thread, given["part"]))
    vectors = math.ceil(outputs / width)
    # None stands for the bias, as if it were a number of each window that is 1.
    places = [*itertools.product(range(lines), range(numbers)), None]
    rows, beside = _shape(len(places), vectors, width)
    with code.shared(given["pictures"]) as picture:
        pixels = code.add(given["pixels"], code.multiply(picture, given["picture"]))
        results = code.multiply(code.multiply(given["rows"], given["columns"]), given["step"])
        diff = code.add(given["diff"], code.multiply(picture, results))
        for first, begin in itertools.product(
            range(0, vectors, beside), range(0, len(places), rows)
        ):
            some = range(first, min(first + beside, vectors))
            columns = [4 * min(v * width, outputs - width) for v in some]
            block = places[begin : begin + rows]
            sums = _sums(code, block, [code.add(diff, column) for column in columns], pixels)
            for k, value in enumerate(sums):
                row, v = divmod(k, len(some))
                place = code.add(mine, 4 * width * ((begin + row) * vectors + first + v))
                code.store(code.plus(code.load(place), value), place)
    return code.text


def _shape(rows: int, vectors: int, width: int) -> tuple[int, int]:
    """How many rows and vectors are summed up at a time, so that there are about as many each."""

    def work(shape: tuple[int, int]) -> int:
        blocks = math.ceil(rows / shape[0]) * math.ceil(vectors / shape[1])
        return blocks * max(shape[0] * shape[1], sum(shape))

    most, beside = min(SHAPES[width], key=work)
    return math.ceil(rows / math.ceil(rows / most)), beside


def _sums(
    code: Code, block: list[tuple[int, int] | None], diffs: list[Number], pixels: Number
) -> list[Vector]:
    """The sums over a picture of some numbers of its windows times vectors of the gradient."""
    given = code.given
    zeros = [code.constant(0.0)] * (len(block) * len(diffs))
    row_bytes = code.multiply(given["columns"], given["step"])
    with code.adding_up(given["rows"], zeros) as outer:
        begin = code.add(pixels, code.multiply(outer.index, given["down"]))
        lines = {
            place[0]: code.add(begin, code.multiply(given["line"], place[0]))
            for place in block
            if place is not None
        }
        before = code.multiply(outer.index, row_bytes)
        with code.adding_up(given["columns"], outer.values) as inner:
            beside = code.multiply(inner.index, given["across"])
            result = code.add(before, code.multiply(inner.index, given["step"]))
            others = [code.load(code.add(diff, result)) for diff in diffs]
            here = {line: code.add(address, beside) for line, address in lines.items()}
            for r, place in enumerate(block):
                value = place and code.spread(code.add(here[place[0]], 4 * place[1]))
                for v, other in enumerate(others):
                    k = r * len(others) + v
                    total = inner.values[k]
                    inner.values[k] = (
                        code.plus(total, other)
                        if value is None
                        else code.plus_product(total, value, other)
                    )
        outer.values = inner.values
    return outer.values
