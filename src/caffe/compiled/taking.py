"""A net's input taken into memory of its own, and looked through on the way."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..pytorch import torch
from .code import Code
from .llvm import Kernel, width_within
from .memory import LINE

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    "source", "target", "sums",
    "planes", "rows", "length", "row_bytes", "target_row_bytes", "target_plane_bytes",
)  # fmt: skip
"""What the kernel is given: addresses of the numbers, of where they belong, and of the threads'
sums of squares; how many planes there are, rows in each, and numbers in each of these; how many
bytes are from a row to the next, and where they belong from a row and from a plane to the next.
"""

ROW = 64
"""How many numbers a row has at least, where nothing lies between them: threads share the rows."""


class Taking:
    """Copies float32 numbers, and tells whether all of them are finite.

    Parameters
    ----------
    target : Tensor
        Where they belong, in float32 or bfloat16. Others may lie between the lines and planes of
        pictures, each as far from the one before as any.

    Attributes
    ----------
    job : Job
        What copies the numbers; others may be given each time that it runs.
    """

    def __init__(self, target: Tensor) -> None:
        self._target = target
        # Behind a run of a net PyTorch's own code is no longer in the caches.
        self._sums = (ctypes.c_float * (LINE * torch.get_num_threads()))()
        self._source: Tensor | None = None
        if target.is_contiguous():
            length = math.prod(target.shape[_first_of_row(target.shape) :])
            target = target.view(1, -1, length)
        *planes, rows, length = target.shape
        *_, plane_step, row_step, _ = target.stride()
        kernel = Kernel(_text(width_within(length) or 1, target.dtype == torch.bfloat16))
        self.job = kernel.job(
            0, target.data_ptr(), ctypes.addressof(self._sums), math.prod(planes), rows, length,
            4 * length, row_step * target.itemsize, plane_step * target.itemsize,
        )  # fmt: skip

    def give(self, numbers: Tensor) -> None:
        """Let the next run copy these numbers, as many as there is room for."""
        self._source = numbers.float().contiguous()
        ctypes.memset(self._sums, 0, ctypes.sizeof(self._sums))
        self.job.given[2 + FIELDS.index("source")] = self._source.data_ptr()

    def end(self) -> bool:
        """Let go of the numbers; return whether the run that has ended found them finite.

        So are their squares' sums, and what Winograd's algorithm makes of them.
        """
        self._source = None
        return math.isfinite(sum(self._sums[::LINE]))


def _first_of_row(shape: Sequence[int]) -> int:
    """The first axis of those that make a row together, where nothing lies between numbers."""
    axes = range(len(shape) - 1, 0, -1)
    return next((axis for axis in axes if math.prod(shape[axis:]) >= ROW), 0)


@functools.cache
def _text(width: int, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given, zero = code.given, code.constant(0.0)
    mine = code.add(given["sums"], code.multiply(code.thread, 4 * LINE))
    vectors = code.covering(given["length"], width)
    last = code.subtract(given["length"], width)
    with code.shared(code.multiply(given["planes"], given["rows"])) as i:
        plane, row = code.divide(i, given["rows"])
        source = code.add(given["source"], code.multiply(i, given["row_bytes"]))
        target = code.add(
            code.add(given["target"], code.multiply(row, given["target_row_bytes"])),
            code.multiply(plane, given["target_plane_bytes"]),
        )
        with code.adding_up(vectors, [zero]) as total:
            # The last vector begins before, where it would not be whole.
            number = code.least(code.multiply(total.index, width), last)
            x = code.load(code.add(source, code.multiply(number, 4)))
            code.put(x, code.add(target, code.multiply(number, code.bytes)))
            total.values = [code.plus_product(total.values[0], x, x)]
        code.store(code.plus(code.load(mine), code.all_together(total.values[0])), mine)
    return code.text
