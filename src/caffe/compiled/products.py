"""Products of matrices, many of them with the same weights or each with its own."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .blocks import Ahead, Block, Finish, Sharing
from .code import Code
from .llvm import Job, Kernel, width
from .memory import ANYWHERE, Memory
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("rows", "row_bytes", "row_batch", "weights", "weights_batch", "biases", "biases_batch"),
    *("found", "found_bytes", "found_batch", "added", "added_bytes"),
    *("count", "steps", "outputs", "batches", "group", "parts"),
)
"""What the kernel is given.

Of rows, weights, biases and results where they lie and how many bytes are from one to the next, and
from one matrix to the next; what is added; how many rows a matrix has, of how many steps, each an
input or two short ones, and outputs, and how many matrices there are; and how many blocks of rows
stay in the cache together, and into how many parts the columns are parted.
"""


@dataclass
class Packed:
    """Weights in the order in which blocks read them.

    Attributes
    ----------
    weights : Tensor
        (matrix, block, step, column).
    outputs, inputs : int
        How many there are.
    """

    block: Block
    weights: Tensor
    outputs: int
    inputs: int


class Products:
    """Rows times weights plus biases, finished.

    Parameters
    ----------
    weights : Tensor or Packed
        (matrix, output, input), float32.
    bias : Tensor
        (matrix, output).
    finish : Finish
        What becomes of the sums.
    rows : int
        How many rows of a matrix there will be.
    memory : Memory
        Where its weights lie.
    short : bool
        Whether rows, results and what is added are short numbers.

    Attributes
    ----------
    biases : Tensor
        (matrix, output), with zeros for the last block's other columns.
    """

    def __init__(
        self,
        weights: Tensor | Packed,
        bias: Tensor,
        finish: Finish,
        rows: int,
        memory: Memory = ANYWHERE,
        short: bool = False,
    ) -> None:
        if not isinstance(weights, Packed):
            _, outputs, inputs = weights.shape
            block = Block.best(rows, outputs, width(), short)
            weights = Packed(block, block.packed(weights, memory), outputs, inputs)
        self._weights, self._outputs = weights.weights, weights.outputs
        self._batches, self._steps = len(self._weights), self._weights.shape[-2]
        self._rows = rows
        self._block = block = weights.block
        self.biases = block.padded(bias)
        is_odd = short and weights.inputs % 2 == 1
        is_whole = self._outputs % block.columns == 0
        self._kernel = Kernel(_text(block, is_whole, finish, is_odd))

    def job(
        self,
        rows: Rows,
        found: Rows,
        count: int | None = None,
        added: Rows | None = None,
        threads: int | None = None,
    ) -> Job:
        """Return what multiplies `count` rows of each matrix, or all, in so many threads, or all.

        Behind each row of `added` numbers must lie that may be read, for as many columns as a
        block has.
        """
        count, block = self._rows if count is None else count, self._block
        sharing = Sharing.of(
            block.down(count),
            self._batches,
            block.across(self._outputs),
            4 * self._steps * block.rows,
            4 * self._steps * block.columns,
            threads,
        )
        other = added or Rows(0, 0)
        return self._kernel.job(
            rows.address, rows.step_bytes, rows.batch_bytes,
            self._weights.data_ptr(), 4 * self._weights.stride(0),
            self.biases.data_ptr(), 4 * self.biases.stride(0),
            found.address, found.step_bytes, found.batch_bytes, other.address, other.step_bytes,
            count, self._steps, self._outputs, self._batches, sharing.group, sharing.parts,
        )  # fmt: skip


@functools.cache
def _text(shape: Block, is_whole: bool, finish: Finish, is_odd: bool) -> str:
    code = Code(FIELDS, shape.width, shape.short)
    given, size, columns = code.given, shape.rows, shape.columns
    blocks = code.covering(given["count"], size)
    groups = code.covering(blocks, given["group"])
    share = shape.share_of(code, code.multiply(given["batches"], groups))
    nowhere = shape.nowhere(code)
    with code.loop(share.start, share.stop) as i:
        batch, group = code.divide(i, groups)
        begin = code.multiply(group, given["group"])
        end = code.least(code.add(begin, given["group"]), blocks)
        rows, weights, bias, found = (
            code.add(given[name], code.multiply(batch, given[step]))
            for name, step in (
                ("rows", "row_batch"),
                ("weights", "weights_batch"),
                ("biases", "biases_batch"),
                ("found", "found_batch"),
            )
        )
        with code.loop(share.first, share.last) as j:
            column = code.multiply(j, 4 * columns)
            result_column = code.multiply(j, code.bytes * columns)
            block = code.add(weights, code.multiply(column, given["steps"]))
            left = None if is_whole else code.subtract(given["outputs"], code.multiply(j, columns))
            sums = shape.biases(code, code.add(bias, column))
            block_bytes = code.multiply(given["steps"], 4 * columns)
            onward = code.divide(block_bytes, code.subtract(end, begin))[0]
            with code.loop(begin, end) as k:
                numbers = [code.add(code.multiply(k, size), r) for r in range(size)]
                sources = [
                    code.add(
                        rows, code.multiply(code.clamped(n, given["count"]), given["row_bytes"])
                    )
                    for n in numbers
                ]
                next_rows = code.multiply(given["row_bytes"], size)
                next_row = code.add(rows, code.multiply(code.add(k, 1), next_rows))
                next_block = code.add(
                    code.add(block, block_bytes),
                    code.multiply(code.subtract(k, begin), onward),
                )
                ahead = [
                    Ahead(next_row, code.divide(next_rows, given["steps"])[0]),
                    Ahead(next_block, code.divide(onward, given["steps"])[0]),
                ]
                place = code.add(found, result_column)
                shape.prefetch_results(code, place, result_column, k, finish)
                made = shape.add_products(
                    code, sources, block, given["steps"], sums, ahead, is_odd
                )  # fmt: skip
                count = given["count"]
                shape.put_down(
                    code, made, numbers, count, place, result_column, nowhere, finish, left
                )
    return code.text
