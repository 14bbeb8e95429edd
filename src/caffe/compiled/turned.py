"""Some rows times large weights, which are read as they lie: the rows are packed instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pytorch import torch
from .blocks import PLAIN, Block, Finish
from .laying import to_rows
from .llvm import Job, width
from .memory import ANYWHERE, Memory
from .packing import packed
from .pointwise import How, Pointwise
from .products import Packed, Products
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

WASTE = 1.3
"""By how many times the rows of whole vectors may be more than there are."""


class Turned:
    """Rows times weights plus biases, finished, without a copy of the weights.

    Weights times rows are computed, and turned. Products take as long as for whole vectors of rows.

    Parameters
    ----------
    weights : Tensor
        (output, input), float32.
    bias : Tensor
        (output,).
    finish : Finish
        What becomes of the sums; nothing is added.
    count : int
        How many rows there will be; `takes` knows whether they may be so many.
    memory : Memory
        Where the rows are packed.
    """

    def __init__(
        self, weights: Tensor, bias: Tensor, finish: Finish, count: int, memory: Memory = ANYWHERE
    ) -> None:
        self._weights, self._count = weights.contiguous(), count
        outputs, inputs = self._weights.shape
        few = Block(12 if width() == 16 else 10, 1, width())
        self._block = block = few if count <= width() else Block.best(outputs, count, width())
        size = block.across(count) * inputs * block.columns
        scratch = memory.scratch(size + outputs * count)
        self._rows, self._sums = scratch[:size], scratch[size:]
        matrices = self._rows.view(1, -1, inputs, block.columns)
        zeros = torch.zeros(1, count, dtype=torch.float32)
        self._products = Products(Packed(block, matrices, count, inputs), zeros, PLAIN, outputs)
        ones = torch.ones(outputs, dtype=torch.float32)
        self._finishing = Pointwise(How(is_affine=True, finish=finish), outputs, ones, bias)

    @staticmethod
    def takes(count: int, inputs: int) -> bool:
        """Tell whether it is for so many rows of so many numbers, and takes little longer."""
        covered = -(-count // width()) * width()
        return inputs % width() == 0 and (count <= width() or covered <= WASTE * count)

    def jobs(self, rows: Rows, found: Rows) -> list[Job]:
        """Return what multiplies the rows, one job behind the other."""
        outputs, inputs = self._weights.shape
        weights = Rows(self._weights.data_ptr(), inputs)
        sums = Rows(self._sums.data_ptr(), self._count)
        return [
            packed(rows, self._count, inputs, self._block, self._rows.data_ptr()),
            self._products.job(weights, sums),
            to_rows(sums.address, found, 1, self._count, outputs),
            self._finishing.job(found, found, self._count),
        ]
