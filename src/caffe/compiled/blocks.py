"""Blocks of products: some rows of numbers times columns of weights, summed up in registers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..pytorch import F, torch
from . import caches, laying
from .code import Code, Number, Vector
from .functions import Function
from .memory import LINE, Memory
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

CACHED = caches.second() // 2
"""How many bytes of rows are multiplied by all columns before those behind them are read."""

SHAPES = {16: ((14, 2), (13, 2), (10, 2), (7, 4)), 8: ((6, 2), (5, 2), (4, 3)), 4: ((6, 2),)}
"""How many rows and vectors of columns blocks may have, by the vectors' width.

All sums, with a row's number and a column's weights, are in registers.
"""


@dataclass(frozen=True)
class Finish:
    """What becomes of sums before they are put down.

    Attributes
    ----------
    slope, least, most : float
        What numbers below 0 are multiplied by, and between what they are kept then.
    function : Function or None
        What is computed of that.
    has_added : bool
        Whether other numbers are added: before all of that, or behind it.
    adds_last : bool
        Whether it is behind.
    """

    slope: float = 1.0
    least: float = -math.inf
    most: float = math.inf
    has_added: bool = False
    function: Function | None = None
    adds_last: bool = False

    @property
    def parted(self) -> tuple[Finish, Finish]:
        """What becomes of sums before others are added, and what becomes of them then."""
        alone = replace(self, has_added=False, adds_last=False)
        return (alone, PLAIN) if self.adds_last else (PLAIN, alone)

    def write(self, code: Code, value: Vector, added: Number | None) -> Vector:
        """Write it for one vector; `added` is where the other numbers lie.

        What is no number stays so, as it does in PyTorch.
        """
        first, last = (None, added) if self.adds_last else (added, None)
        if self.has_added and first is not None:
            value = code.plus(value, code.value(first))
        if self.slope != 1:
            zero = code.constant(0.0)
            below = zero if self.slope == 0 else code.scaled(value, self.slope)
            value = code.larger(zero, value, below, value)
        value = code.within(value, self.least, self.most)
        if self.function is not None:
            value = self.function.write(code, value)
        if self.has_added and last is not None:
            value = code.plus(value, code.value(last))
        return value


PLAIN = Finish()
"""Nothing."""


@dataclass
class Ahead:
    """What is read next: from where on, and how many bytes further for each number of a row."""

    address: Number
    step: Number


@dataclass(frozen=True)
class Block:
    """The shape of blocks.

    Attributes
    ----------
    rows, vectors : int
        How many rows it has, and how many vectors of columns.
    width : int
        How many columns a vector has.
    short : bool
        Whether rows and weights are short numbers, which are multiplied two at a time.
    """

    rows: int
    vectors: int
    width: int
    short: bool = False

    @classmethod
    def best(cls, rows: int, columns: int, width: int, short: bool = False) -> Block:
        """Return the shape of blocks that cover so many rows and columns in the least time."""
        blocks = [cls(*shape, width, short) for shape in SHAPES[width]]

        def work(block: Block) -> float:
            covered = block.down(rows) * block.rows * block.across(columns) * block.columns
            # Wide ones read more weights for as many products.
            return (
                covered * (1.0 if block.vectors == 2 else 1.2) * (1.02 if block.rows < 13 else 1.0)
            )

        return min(blocks, key=work)

    @property
    def columns(self) -> int:
        """How many columns a block has."""
        return self.vectors * self.width

    def down(self, rows: int) -> int:
        """Return how many blocks there are below each other."""
        return math.ceil(rows / self.rows)

    def across(self, columns: int) -> int:
        """Return how many blocks there are beside each other."""
        return math.ceil(columns / self.columns)

    def packed(self, weights: Tensor, memory: Memory) -> Tensor:
        """Return weights, (..., output, input), as (..., block, step, column).

        A step is an input, or two of them.
        """
        if self.short:
            weights = paired(weights)
        *others, outputs, inputs = weights.shape
        blocks, whole = self.across(outputs), weights
        if outputs % self.columns:
            whole = weights.new_zeros(*others, blocks * self.columns, inputs)
            whole[..., :outputs, :] = weights
        whole = whole.contiguous()
        found = memory.take(whole.numel()).view(*others, blocks, inputs, self.columns)
        # By PyTorch's operators this takes ten times as long.
        rows = Rows(found.data_ptr(), self.columns)
        count = math.prod(others) * blocks
        laying.to_rows(whole.data_ptr(), rows, count, inputs, self.columns).run()
        return found

    def padded(self, biases: Tensor) -> Tensor:
        """Return numbers for each output, with zeros for the last block's other columns."""
        *others, outputs = biases.shape
        whole = biases.new_zeros(*others, self.across(outputs) * self.columns)
        whole[..., :outputs] = biases
        return whole

    # What kernels do with them.

    def add_products(
        self,
        code: Code,
        rows: Sequence[Number],
        weights: Number,
        count: Number,
        sums: Sequence[Vector],
        ahead: Sequence[Ahead] = (),
        is_odd: bool = False,
    ) -> list[Vector]:
        """Add the products of a row's numbers, in `count` steps, with the columns to the sums.

        Returns the sums. What is read next is brought into the cache meanwhile. Where short numbers
        are odd, what lies beside the last one is read, and counts as 0.
        """
        multiplied = code.plus_pairs if self.short else code.plus_product
        with code.adding_up(count, sums) as loop:
            place = code.add(weights, code.multiply(loop.index, 4 * self.columns))
            columns = [code.load(code.add(place, self._offset(v))) for v in range(self.vectors)]
            for next_one in ahead:
                further = code.multiply(loop.index, next_one.step)
                code.prefetch(code.add(next_one.address, further))
            offset = code.multiply(loop.index, 4)
            if is_odd:
                is_last = code.is_within(code.subtract(count, code.add(loop.index, 1)), 1)
                kept = code.everywhere(code.where([is_last], Number("65535"), Number("-1")))
            for r, row in enumerate(rows):
                value = code.spread(code.add(row, offset))
                if is_odd:
                    value = code.both(value, kept)
                for v, column in enumerate(columns):
                    k = r * self.vectors + v
                    loop.values[k] = multiplied(loop.values[k], value, column)
        return loop.values

    def biases(self, code: Code, address: Number) -> list[Vector]:
        """Return the sums that a block begins with."""
        return [
            code.load(code.add(address, self._offset(v))) for v in range(self.vectors)
        ] * self.rows

    def prefetch_results(
        self, code: Code, found: Number, column: Number, block: Number, finish: Finish
    ) -> None:
        """Have the places brought into the cache where the results of the next block belong.

        `found` is where the first row's columns lie; the fields say how far the others are.
        """
        given = code.given
        first = code.multiply(code.add(block, 1), self.rows)
        places = [(found, given["found_bytes"], True)]
        if finish.has_added:
            places.append((code.add(given["added"], column), given["added_bytes"], False))
        for start, step, is_written in places:
            for r in range(self.rows):
                line = code.add(start, code.multiply(code.add(first, r), step))
                for offset in range(0, code.bytes * self.columns, 4 * LINE):
                    code.prefetch(code.add(line, offset), is_written)

    def put_down(
        self,
        code: Code,
        sums: Sequence[Vector],
        rows: Sequence[Number],
        count: Number,
        found: Number,
        column: Number,
        nowhere: Number,
        finish: Finish,
        columns: Number | None,
    ) -> None:
        """Put sums down, finished, where rows of these numbers belong.

        Parameters
        ----------
        rows : sequence of Number
            The rows' numbers, of which those from `count` on are none, and go `nowhere`.
        found, column : Number
            Where the first row's columns lie, and how many bytes they are from its beginning; the
            fields say how far the others are.
        columns : Number or None
            How many columns there are, where not all are.
        """
        given = code.given
        added = code.add(given["added"], column) if finish.has_added else None
        for r, row in enumerate(rows):
            there = code.add(found, code.multiply(row, given["found_bytes"]))
            target = code.where([code.is_within(row, count)], there, nowhere)
            other = None
            if added is not None:
                inside = code.clamped(row, count)
                other = code.add(added, code.multiply(inside, given["added_bytes"]))
            for v in range(self.vectors):
                offset = code.bytes * self.width * v
                beside = None if other is None else code.add(other, offset)
                value = finish.write(code, sums[r * self.vectors + v], beside)
                left = None if columns is None else code.subtract(columns, self.width * v)
                code.put(value, code.add(target, offset), left)

    def share_of(self, code: Code, groups: Number) -> Share:
        """Write which of so many groups, and of all columns, are the thread's own."""
        given = code.given
        parts = code.least(given["parts"], code.threads)
        mine, part = code.divide(code.thread, parts)
        sharers = code.divide(code.threads, parts)[0]
        blocks = code.covering(given["outputs"], self.columns)
        first, last = code.share(blocks, part, parts)
        start, stop = code.share(groups, mine, sharers)
        # Threads beyond a whole number of sharers have nothing to do.
        stop = code.where([code.is_within(mine, sharers)], stop, start)
        return Share(start, stop, first, last)

    def nowhere(self, code: Code) -> Number:
        """Return where the thread puts rows that are none; written before any loop."""
        return code.memory(Number(str(4 * self.columns)))

    def _offset(self, vector: int) -> int:
        return 4 * self.width * vector


def paired(weights: Tensor) -> Tensor:
    """Return weights, (..., input), as short numbers, two in each place; a 0 may be the last."""
    if weights.shape[-1] % 2:
        weights = F.pad(weights, (0, 1))
    numbers = weights.bfloat16().flatten().view(torch.float32)
    return numbers.view(*weights.shape[:-1], -1)


@dataclass
class Sharing:
    """How blocks are shared among threads.

    Attributes
    ----------
    group : int
        How many blocks of rows stay in the cache together.
    parts : int
        Into how many parts the columns are parted.
    """

    group: int
    parts: int

    @classmethod
    def of(
        cls,
        blocks: int,
        matrices: int,
        columns: int,
        row_bytes: int,
        column_bytes: int,
        threads: int | None = None,
    ) -> Sharing:
        """Return how blocks of rows, of so many matrices, and of columns are best shared.

        Weights are read once for each group of rows, and rows that do not stay in the cache once
        for each block of columns. Columns are parted where that gives all threads as much to do, or
        where there are more of them than rows: their weights are better read by one thread each
        than by all of them.
        """
        threads = threads or torch.get_num_threads()
        cached = max(1, CACHED // row_bytes)
        in_groups = math.ceil(blocks / cached) * columns * column_bytes
        rows_bytes = blocks * row_bytes
        # The second cache gives them back quickly.
        again = rows_bytes // 4 if rows_bytes <= 4 * CACHED else rows_bytes
        at_once = columns * (column_bytes + again)
        group = cached if in_groups <= at_once else blocks
        whole = group
        # Smaller groups are shared more evenly.
        group = max(1, min(group, matrices * blocks // (4 * threads)))
        units = matrices * math.ceil(blocks / group)
        divisors = [n for n in range(1, threads + 1) if threads % n == 0]
        is_heavy = columns > blocks

        def work(n: int) -> tuple[int, int]:
            most = math.ceil(units / (threads // n)) * math.ceil(columns / n)
            return most, -n if is_heavy else n

        parts = min(divisors, key=work)
        return cls(whole if parts == threads else group, parts)


@dataclass
class Share:
    """What one thread works on: some groups of blocks of rows, and some blocks of columns."""

    start: Number
    stop: Number
    first: Number
    last: Number
