"""Products of transposed matrices: sums over their rows, as gradients by weights are."""

from __future__ import annotations

import functools

from .blocks import Block
from .code import Code, Number, Vector
from .llvm import Job, Kernel, width
from .rows import Rows

FIELDS = (
    *("left", "left_bytes", "left_batch", "right", "right_bytes", "right_batch"),
    *("found", "found_bytes", "found_batch", "count", "rows", "columns", "batches"),
)
"""What the kernel is given.

Of both matrices and of the results where they lie, and how many bytes are from one row to the next,
and from one matrix to the next; how many rows both have; how many rows and columns the results
have; and how many matrices there are.
"""

SHAPES = {16: ((13, 2), (11, 2), (8, 2), (7, 3)), 8: ((6, 2), (5, 2), (4, 3)), 4: ((6, 2),)}
"""How many rows and vectors of columns blocks of results may have, by the vectors' width."""


class TransposedProducts:
    """Adds left.T @ right to results, of several matrices.

    Behind the last rows of all three must lie memory for as many numbers as a block has columns.

    Parameters
    ----------
    rows, columns : int
        How many the results have.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        blocks = [Block(*shape, width()) for shape in SHAPES[width()]]

        def work(block: Block) -> int:
            count = block.down(rows) * block.across(columns)
            # Of a block's products two are as quick as two numbers are read for them.
            return count * max(block.rows * block.vectors, block.rows + block.vectors)

        self._block = block = min(blocks, key=work)
        self._kernel = Kernel(_text(block, columns % block.columns == 0))

    def job(self, left: Rows, right: Rows, found: Rows, count: int, batches: int = 1) -> Job:
        """Return what multiplies matrices of `count` rows."""
        return self._kernel.job(
            left.address, 4 * left.step, 4 * left.batch,
            right.address, 4 * right.step, 4 * right.batch,
            found.address, 4 * found.step, 4 * found.batch,
            count, self._rows, self._columns, batches,
        )  # fmt: skip


@functools.cache
def _text(shape: Block, is_whole: bool) -> str:
    code = Code(FIELDS, shape.width)
    given = code.given
    down = code.covering(given["rows"], shape.rows)
    across = code.covering(given["columns"], shape.columns)
    nowhere = shape.nowhere(code)
    with code.shared(code.multiply(given["batches"], code.multiply(down, across))) as i:
        batch, block = code.divide(i, code.multiply(down, across))
        below, beside = code.divide(block, across)
        row, column = code.multiply(below, shape.rows), code.multiply(beside, shape.columns)
        left, right, found = (
            code.add(
                code.add(given[name], code.multiply(batch, given[f"{name}_batch"])),
                code.multiply(first, 4),
            )
            for name, first in (("left", row), ("right", column), ("found", column))
        )
        sums = _sums(code, shape, left, right)
        columns = None if is_whole else code.subtract(given["columns"], column)
        for r in range(shape.rows):
            number = code.add(row, r)
            there = code.add(found, code.multiply(number, given["found_bytes"]))
            target = code.where([code.is_within(number, given["rows"])], there, nowhere)
            for v in range(shape.vectors):
                place = code.add(target, 4 * shape.width * v)
                value = code.plus(code.load(place), sums[r * shape.vectors + v])
                rest = None if columns is None else code.subtract(columns, shape.width * v)
                code.store(value, place, rest)
    return code.text


def _sums(code: Code, shape: Block, left: Number, right: Number) -> list[Vector]:
    """The products of a block's columns, added up over all rows, of which there is one at least."""
    given = code.given
    zeros = [code.constant(0.0)] * (shape.rows * shape.vectors)
    with code.adding_up(given["count"], zeros) as loop:
        first = code.add(left, code.multiply(loop.index, given["left_bytes"]))
        second = code.add(right, code.multiply(loop.index, given["right_bytes"]))
        others = [code.load(code.add(second, 4 * shape.width * v)) for v in range(shape.vectors)]
        for r in range(shape.rows):
            value = code.spread(code.add(first, 4 * r))
            for v, other in enumerate(others):
                k = r * shape.vectors + v
                loop.values[k] = code.plus_product(loop.values[k], value, other)
    return loop.values
