"""Pictures brought from one order in memory into the other."""

from __future__ import annotations

import functools

from .code import Code
from .llvm import Job, Kernel, width
from .memory import LINE
from .rows import Rows

FIELDS = ("rows", "step", "planes", "pictures", "pixels", "channels")
"""What the kernels are given: pixels that lie channels last, and how many bytes are from one to the
next; the same as planes; how many pictures there are, of how many pixels and channels."""


def to_planes(rows: Rows, planes: int, number: int, pixels: int, channels: int) -> Job:
    """Return what puts pictures as planes that lie channels last."""
    return _job(rows, planes, number, pixels, channels, True)


def to_rows(planes: int, rows: Rows, number: int, pixels: int, channels: int) -> Job:
    """Return what puts pictures channels last that lie as planes."""
    return _job(rows, planes, number, pixels, channels, False)


def clearing(address: int, count: int) -> Job:
    """Return what writes so many zeros."""
    return Kernel(_clearing(width())).job(address, count)


def _job(
    rows: Rows, planes: int, number: int, pixels: int, channels: int, is_to_planes: bool
) -> Job:
    fields = (rows.address, rows.step_bytes, planes, number, pixels, channels)
    line = 4 * LINE // rows.bytes
    beside = line if pixels >= line else 1
    return Kernel(_laying(beside, is_to_planes, rows.bytes == 2)).job(*fields)


@functools.cache
def _laying(beside: int, is_to_planes: bool, short: bool) -> str:
    """The kernel for `beside` pixels at a time: a line of the cache, so that each is read once."""
    code = Code(FIELDS, 1, short)
    given = code.given
    groups = code.covering(given["pixels"], beside)
    with code.shared(code.multiply(given["pictures"], groups)) as i:
        picture, group = code.divide(i, groups)
        # The last ones are put once more where they are fewer.
        first = code.least(
            code.multiply(group, beside), code.subtract(given["pixels"], beside)
        )  # fmt: skip
        number = code.add(code.multiply(picture, given["pixels"]), first)
        row = code.add(given["rows"], code.multiply(number, given["step"]))
        planes = code.multiply(code.multiply(picture, given["channels"]), given["pixels"])
        plane = code.add(given["planes"], code.multiply(code.add(planes, first), code.bytes))
        line_bytes = code.multiply(given["pixels"], code.bytes)
        with code.loop(0, given["channels"]) as channel:
            column = code.add(row, code.multiply(channel, code.bytes))
            line = code.add(plane, code.multiply(line_bytes, channel))
            for k in range(beside):
                places = (
                    code.add(column, code.multiply(given["step"], k)),
                    code.add(line, code.bytes * k),
                )
                source, target = places if is_to_planes else reversed(places)
                code.move(source, target)
    return code.text


@functools.cache
def _clearing(width: int) -> str:
    code = Code(("address", "count"), width)
    given, zeros = code.given, code.constant(0.0)
    with code.shared(code.covering(given["count"], width)) as i:
        first = code.multiply(i, width)
        place = code.add(given["address"], code.multiply(first, 4))
        code.store(zeros, place, code.subtract(given["count"], first))
    return code.text
