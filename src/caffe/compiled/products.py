"""Products of matrices, many of them with the same weights or each with its own."""

from __future__ import annotations

import functools
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
    *("count", "inputs", "outputs", "batches", "group", "parts", "spare"),
)
"""What the kernel is given.

Of rows, weights, biases and results where they lie and how many bytes are from one to the next, and
from one matrix to the next; what is added; how many rows, inputs and outputs a matrix has, and how
many matrices there are; how many blocks of rows stay in the cache together, and into how many parts
the columns are parted; and memory for rows that are none.
"""


class Products:
    """Rows times weights plus biases, finished.

    Parameters
    ----------
    weights : Tensor
        (matrix, output, input), float32.
    bias : Tensor
        (matrix, output).
    finish : Finish
        What becomes of the sums.
    rows : int
        How many rows of a matrix there will be.
    memory : Memory
        Where its weights lie.
    """

    def __init__(
        self,
        weights: Tensor,
        bias: Tensor,
        finish: Finish,
        rows: int,
        memory: Memory = ANYWHERE,
    ) -> None:
        self._batches, self._outputs, self._inputs = weights.shape
        self._rows = rows
        self._block = block = Block.best(rows, self._outputs, width())
        self._weights, self._biases = block.packed(weights, memory), block.padded(bias)
        self._kernel = Kernel(_text(block, self._outputs % block.columns == 0, finish))
        self._spare = block.spare()

    def job(
        self, rows: Rows, found: Rows, count: int | None = None, added: Rows | None = None
    ) -> Job:
        """Return what multiplies `count` rows of each matrix, or all.

        Behind each row of `added` numbers must lie that may be read, for as many columns as a
        block has.
        """
        count, block = self._rows if count is None else count, self._block
        sharing = Sharing.of(
            block.down(count),
            self._batches,
            block.across(self._outputs),
            4 * self._inputs * block.rows,
            4 * self._inputs * block.columns,
        )
        other = added or Rows(0, 0)
        return self._kernel.job(
            rows.address, 4 * rows.step, 4 * rows.batch,
            self._weights.data_ptr(), 4 * self._weights[0].numel(),
            self._biases.data_ptr(), 4 * self._biases[0].numel(),
            found.address, 4 * found.step, 4 * found.batch, other.address, 4 * other.step,
            count, self._inputs, self._outputs, self._batches, sharing.group, sharing.parts,
            self._spare.data_ptr(),
        )  # fmt: skip


@functools.cache
def _text(shape: Block, is_whole: bool, finish: Finish) -> str:
    code = Code(FIELDS, shape.width)
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
            block = code.add(weights, code.multiply(column, given["inputs"]))
            left = None if is_whole else code.subtract(given["outputs"], code.multiply(j, columns))
            sums = shape.biases(code, code.add(bias, column))
            block_bytes = code.multiply(given["inputs"], 4 * columns)
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
                    Ahead(next_row, code.divide(next_rows, given["inputs"])[0]),
                    Ahead(next_block, code.divide(onward, given["inputs"])[0]),
                ]
                place = code.add(found, column)
                shape.prefetch_results(code, place, column, k, finish)
                made = shape.add_products(code, sources, block, given["inputs"], sums, ahead)
                count = given["count"]
                shape.put_down(code, made, numbers, count, place, column, nowhere, finish, left)
    return code.text
