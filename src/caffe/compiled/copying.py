"""Numbers copied to where they belong in another order: runs of them, or one by one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from .code import Code, Number
from .llvm import Job, Kernel, width
from .rows import Rows

CHUNK = 2**12
"""How many numbers of a run one thread copies at once."""


@dataclass
class Axis:
    """One axis of what is copied: its length, and how many numbers are from one to the next."""

    length: int
    source: int
    target: int

    def holds(self, inner: Axis) -> bool:
        """Whether this axis goes on where the inner one ends, in both places."""
        return (self.source, self.target) == (
            inner.source * inner.length,
            inner.target * inner.length,
        )


def copying(
    source: int,
    target: int,
    lengths: Sequence[int],
    sources: Sequence[int],
    targets: Sequence[int],
    short: bool = False,
) -> Job:
    """Return what copies an array of any number of axes.

    Parameters
    ----------
    source, target : int
        The first number's addresses. Behind the last number of the source others must lie that may
        be read, for as many as a vector has.
    lengths : sequence of int
        The axes' lengths.
    sources, targets : sequence of int
        How many numbers are from each to the next along an axis; 0 in the source repeats them.
    short : bool
        Whether they are short numbers.
    """
    axes = _joined([Axis(*axis) for axis in zip(lengths, sources, targets, strict=True)])
    inner = axes[-1] if axes else Axis(1, 1, 1)
    is_run = inner.source == inner.target == 1
    outer = axes[:-1] if axes else []
    size, fields = 2 if short else 4, [source, target]
    for axis in [inner, *[Axis(1, 0, 0)] * (2 - len(outer)), *outer]:
        fields += axis.length, size * axis.source, size * axis.target
    vectors = width() if is_run else 1
    text = _text(max(2, len(outer)), vectors, inner.length % vectors == 0, short)
    return Kernel(text).job(*fields)


def rows_copied(rows: Rows, found: Rows, count: int, channels: int) -> Job:
    """Return what copies rows."""
    steps = (rows.step, 1), (found.step, 1)
    return copying(rows.address, found.address, (count, channels), *steps, rows.bytes == 2)


def _joined(axes: list[Axis]) -> list[Axis]:
    """The axes in the target's order, the longest steps first, as few as can be."""
    found: list[Axis] = []
    for axis in sorted(axes, key=lambda axis: -axis.target):
        if axis.length == 1:
            continue
        if found and found[-1].holds(axis):
            length = found.pop().length * axis.length
            axis = Axis(length, axis.source, axis.target)
        found.append(axis)
    return found


@functools.cache
def _text(outer: int, width: int, is_whole: bool, short: bool) -> str:
    """The kernel for so many axes around the inner one; threads share the first two."""
    names = [f"{name}{i}" for i in range(outer) for name in ("length", "source", "target")]
    code = Code(["source", "target", "length", "source_step", "target_step", *names], width, short)
    given = code.given
    chunks = code.covering(given["length"], CHUNK)
    both = code.multiply(given["length0"], given["length1"])
    with code.shared(code.multiply(both, chunks)) as i:
        place, chunk = code.divide(i, chunks)
        indices = code.divide(place, given["length1"])
        source, target = (
            code.add(
                given[name],
                code.add(
                    code.multiply(indices[0], given[f"{name}0"]),
                    code.multiply(indices[1], given[f"{name}1"]),
                ),
            )
            for name in ("source", "target")
        )
        start = code.multiply(chunk, CHUNK)
        stop = code.least(code.add(start, CHUNK), given["length"])
        _copy(code, source, target, (start, stop), range(2, outer), is_whole)
    return code.text


def _copy(
    code: Code,
    source: Number,
    target: Number,
    bounds: tuple[Number, Number],
    axes: range,
    is_whole: bool,
) -> None:
    """Write the loops over axes, and over the numbers of the inner one between bounds."""
    given = code.given
    if axes:
        first, *_ = axes
        with code.loop(0, given[f"length{first}"]) as i:
            further, there = (
                code.add(place, code.multiply(i, given[f"{name}{first}"]))
                for place, name in ((source, "source"), (target, "target"))
            )
            _copy(code, further, there, bounds, axes[1:], is_whole)
        return
    with code.loop(*bounds, code.width) as i:
        values = code.value(code.add(source, code.multiply(i, given["source_step"])))
        left = None if is_whole else code.subtract(given["length"], i)
        code.put(values, code.add(target, code.multiply(i, given["target_step"])), left)
