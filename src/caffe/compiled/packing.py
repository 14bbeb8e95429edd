"""Rows of numbers side by side, in the order in which blocks read weights."""

from __future__ import annotations

import functools

from .blocks import Block
from .code import Code, Vector
from .llvm import Job, Kernel
from .rows import Rows

FIELDS = ("rows", "step", "count", "inputs", "blocks", "found")
"""What the kernel is given: rows, how many bytes are from one to the next, how many there are, of
how many numbers; and how many blocks are made of them, where."""

PART = 4
"""How many numbers of a row are read at once."""


def packed(rows: Rows, count: int, inputs: int, block: Block, found: int) -> Job:
    """Return what puts rows as (block, input, row), each row a column of the block.

    Parameters
    ----------
    rows : Rows
        Float32.
    count, inputs : int
        How many there are, and how many numbers each has: whole vectors of them.
    block : Block
        How many columns a block has; in those behind the last row any numbers are put.
    found : int
        Where they are put.
    """
    kernel = Kernel(_text(block))
    return kernel.job(rows.address, rows.step_bytes, count, inputs, block.across(count), found)


@functools.cache
def _text(block: Block) -> str:
    code, columns = Code(FIELDS, block.width), block.columns
    given, width = code.given, code.width
    steps = code.divide(given["inputs"], width)[0]
    with code.shared(code.multiply(given["blocks"], steps)) as i:
        number, step = code.divide(i, steps)
        first = code.multiply(number, columns)
        rows = code.add(given["rows"], code.multiply(step, 4 * width))
        found = code.add(given["found"], code.multiply(i, 4 * width * columns))
        lines = []
        for k in range(columns):
            there = code.clamped(code.add(first, k), given["count"])
            lines.append(code.add(rows, code.multiply(there, given["step"])))
        for begin in range(0, width, PART):
            parts = [code.add(line, 4 * begin) for line in lines]
            for column in range(0, columns, width):
                # In each part of a vector others of the rows.
                several = parts[column : column + width]
                square = [code.parts(several[k::PART]) for k in range(PART)]
                for k, line in enumerate(_transposed(code, square)):
                    code.store(line, code.add(found, 4 * ((begin + k) * columns + column)))
    return code.text


def _transposed(code: Code, square: list[Vector]) -> list[Vector]:
    """Of vectors whose parts are lines of squares the same of the squares' columns."""
    lines = list(square)
    for step in (1, 2):
        stays = [n for n in range(code.width) if not n & step]
        low = [n if n in stays else code.width + n - step for n in range(code.width)]
        high = [n + step if n in stays else code.width + n for n in range(code.width)]
        # One bit of a line's number changes places with that of the numbers in it.
        for k in stays[: PART // 2]:
            a, b = lines[k], lines[k + step]
            lines[k], lines[k + step] = code.picked(a, b, low), code.picked(a, b, high)
    return lines
