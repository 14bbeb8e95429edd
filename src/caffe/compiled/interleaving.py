"""Channels of some groups taken in turns."""

from __future__ import annotations

import functools

from .code import Code
from .llvm import Job, Kernel, width
from .rows import Rows

FIELDS = ("rows", "step", "found", "found_step", "count", "columns")
"""What the kernel is given: rows and results, and how many bytes are from one to the next; how many
there are, and how many numbers a group has."""

MOST_GROUPS = 8
"""How many groups there may be: a vector of each is in a register."""


def interleaved(rows: Rows, found: Rows, count: int, channels: int, groups: int) -> Job:
    """Return what puts each group's first number first, then each one's second, and so on.

    Behind the last row numbers must lie that may be read, for as many as a vector has.
    """
    fields = rows.address, rows.step_bytes, found.address, found.step_bytes
    text = _text(groups, width(), rows.bytes == 2)
    return Kernel(text).job(*fields, count, channels // groups)


@functools.cache
def _text(groups: int, width: int, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given
    with code.shared(given["count"]) as i:
        row, found = (
            code.add(given[name], code.multiply(i, given[step]))
            for name, step in (("rows", "step"), ("found", "found_step"))
        )
        group_bytes = code.multiply(given["columns"], code.bytes)
        with code.loop(0, given["columns"], width) as column:
            first = code.add(row, code.multiply(column, code.bytes))
            values = [
                code.value(code.add(first, code.multiply(group_bytes, k))) for k in range(groups)
            ]
            target = code.add(found, code.multiply(column, groups * code.bytes))
            left = code.multiply(code.subtract(given["columns"], column), groups)
            for k in range(groups):
                turns = [divmod(width * k + place, groups) for place in range(width)]
                mixed = values[0]
                for group, value in enumerate(values[1:], 1):
                    # The first two come to their places together, each of the others then.
                    places = [
                        width + at if own == group else at if group == 1 else place
                        for place, (at, own) in enumerate(turns)
                    ]
                    mixed = code.picked(mixed, value, places)
                code.put(
                    mixed,
                    code.add(target, code.bytes * width * k),
                    code.subtract(left, width * k),
                )
    return code.text
