"""The softmax of rows."""

from __future__ import annotations

import functools
import math

from .code import Code
from .functions import exponential
from .llvm import Job, Kernel, width
from .rows import Rows

FIELDS = ("rows", "step", "found", "found_step", "count", "channels")
"""What the kernel is given: rows and results, how many bytes are from one to the next; how many
there are, and of how many numbers."""


def softmax(rows: Rows, found: Rows, count: int, channels: int) -> Job:
    """Return what makes of each row numbers that are positive, and of which the sum is 1.

    Where rows are short numbers results may be float32 ones. Behind the last row numbers must lie
    that may be read, for as many as a vector has.
    """
    fields = (rows.address, rows.step_bytes, found.address, found.step_bytes, count, channels)
    return Kernel(_text(width(), rows.bytes == 2, found.bytes == 2)).job(*fields)


@functools.cache
def _text(width: int, short: bool, gives_short: bool) -> str:
    code = Code(FIELDS, width, short)
    put, made = (code.put, code.value) if gives_short else (code.store, code.load)
    step, found_step = code.bytes * width, (2 if gives_short else 4) * width
    given = code.given
    vectors = code.covering(given["channels"], width)
    zero = code.constant(0.0)
    with code.shared(given["count"]) as i:
        row, found = (
            code.add(given[name], code.multiply(i, given[step]))
            for name, step in (("rows", "step"), ("found", "found_step"))
        )
        with code.adding_up(vectors, [code.constant(-math.inf)]) as most:
            left = code.subtract(given["channels"], code.multiply(most.index, width))
            value = code.value(code.add(row, code.multiply(most.index, step)))
            larger = code.larger(value, most.values[0], value, most.values[0])
            most.values = [code.first(left, larger, most.values[0])]
        largest = code.largest(most.values[0])
        with code.adding_up(vectors, [zero]) as total:
            left = code.subtract(given["channels"], code.multiply(total.index, width))
            value = code.value(code.add(row, code.multiply(total.index, step)))
            power = exponential(code, code.minus(value, largest))
            put(power, code.add(found, code.multiply(total.index, found_step)), left)
            total.values = [code.plus(total.values[0], code.first(left, power, zero))]
        whole = code.all_together(total.values[0])
        with code.loop(0, vectors) as vector:
            left = code.subtract(given["channels"], code.multiply(vector, width))
            place = code.add(found, code.multiply(vector, found_step))
            put(code.over(made(place), whole), place, left)
    return code.text
