"""Squares of numbers, such as kernels and their gradients, brought into Winograd's other form."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from .code import Code, Factors
from .llvm import Job, Kernel
from .tiles import products

FIELDS = (
    *("squares", "square_place", "square_row", "square_block"),
    *("found", "found_place", "found_row", "found_block", "rows", "blocks", "bytes"),
)
"""What the kernel is given.

Of the squares and of what is made of them where they lie, and how many bytes are from one place of
a square, one row and one block to the next; how many rows a block has, how many blocks there are;
and how many bytes a row takes.
"""


@dataclass
class Lying:
    """Blocks of rows of squares: the first one's address, and how many numbers lie between.

    Attributes
    ----------
    place, row, block : int
        From a place of a square, a row and a block to the next.
    """

    address: int
    place: int
    row: int
    block: int = 0

    @property
    def fields(self) -> tuple[int, ...]:
        """What a kernel is given."""
        return (self.address, 4 * self.place, 4 * self.row, 4 * self.block)


class ChangingSquares:
    """Multiplies both axes of squares by one matrix.

    Parameters
    ----------
    matrix : sequence of sequences of float
        (places made, places).
    is_turned : bool
        Whether the squares are turned around first, so that the last place comes first.
    width : int
        How many squares that lie beside each other are changed at once; a row has as many, at
        least.
    """

    def __init__(self, matrix: Factors, is_turned: bool, width: int) -> None:
        self._kernel = Kernel(_text(tuple(map(tuple, matrix)), is_turned, width))

    def job(self, squares: Lying, found: Lying, rows: int, blocks: int, count: int) -> Job:
        """Return what changes so many blocks of so many rows, each of `count` squares."""
        return self._kernel.job(*squares.fields, *found.fields, rows, blocks, 4 * count)


@functools.cache
def _text(matrix: Factors, is_turned: bool, width: int) -> str:
    size = len(matrix[0])
    code = Code(FIELDS, width)
    given = code.given
    with code.shared(code.multiply(given["rows"], given["blocks"])) as i:
        block, row = code.divide(i, given["rows"])
        squares, found = (
            code.add(
                code.add(given[name], code.multiply(block, given[f"{kind}_block"])),
                code.multiply(row, given[f"{kind}_row"]),
            )
            for name, kind in (("squares", "square"), ("found", "found"))
        )
        with code.vectors(0, given["bytes"], 4 * width) as column:
            place = code.add(squares, column)
            values = []
            for _ in range(size**2):
                values.append(code.load(place))
                place = code.add(place, given["square_place"])
            if is_turned:
                values.reverse()
            lines = [values[k : k + size] for k in range(0, size**2, size)]
            columns = [products(code, matrix, line) for line in zip(*lines, strict=True)]
            place = code.add(found, column)
            for line in zip(*columns, strict=True):
                for value in products(code, matrix, line):
                    code.store(value, place)
                    place = code.add(place, given["found_place"])
    return code.text
