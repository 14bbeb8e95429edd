"""The softmax of rows."""

from __future__ import annotations

import functools
import math

from .code import Code, Vector
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
    short = rows.bytes == 2, found.bytes == 2
    are_several = channels < width() and width() % channels == 0
    if are_several and rows.step == found.step == channels:
        return Kernel(_text_of_several(channels, width(), *short)).job(*fields)
    return Kernel(_text(width(), *short)).job(*fields)


@functools.cache
def _text_of_several(channels: int, width: int, short: bool, gives_short: bool) -> str:
    """The kernel for rows of which several make a vector, one behind the other."""
    code = Code(FIELDS, width, short)
    given = code.given
    numbers = code.multiply(given["count"], channels)
    with code.shared(code.covering(numbers, width)) as i:
        first = code.multiply(i, width)
        row, found = (
            code.add(given[name], code.multiply(first, size))
            for name, size in (("rows", code.bytes), ("found", 2 if gives_short else 4))
        )
        value = code.value(row)
        most, distance = value, 1
        while distance < channels:
            other = _swapped(code, most, distance)
            most, distance = code.larger(most, other, most, other), 2 * distance
        power = exponential(code, code.minus(value, most))
        total, distance = power, 1
        while distance < channels:
            total = code.plus(total, _swapped(code, total, distance))
            distance *= 2
        put = code.put if gives_short else code.store
        put(code.over(power, total), found, code.subtract(numbers, first))
    return code.text


def _swapped(code: Code, values: Vector, distance: int) -> Vector:
    """A vector whose numbers so far from each other are exchanged."""
    return code.picked(values, values, [place ^ distance for place in range(code.width)])


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
