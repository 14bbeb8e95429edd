"""What the lines of a log say."""

from __future__ import annotations

import re

import pytest

_BEGINNING = re.compile(r"[IWEF]\d{4,8} [\d:.]+ +\d+ (\S+:\d+\] )?")
_NUMBER = re.compile(r"(?<=[=(> ])-?\d[\d.]*(?:e[-+]\d+)?(?= |\)|$)")
_SPEED = re.compile(r"\(\S+ iter/s, \S+s/\d+ iters\)")


def lines(text: str) -> list[str]:
    """The lines without their beginnings."""
    return [_BEGINNING.sub("", line) for line in text.splitlines()]


def assert_same_log(found: str, golden: str, rel: float) -> None:
    """Compare two logs line by line, numbers behind "solver.cpp" and the like within `rel`."""
    ours, originals = lines(found), lines(golden)
    # The reading thread of the original's test net comes to its store's end while the nets are
    # made, and tells it among whatever lines are told then.
    for told in (ours, originals):
        told.remove("Restarting data prefetching from start.")
    for mine, theirs in zip(ours, originals, strict=False):
        mine, theirs = _SPEED.sub("()", mine), _SPEED.sub("()", theirs)
        assert _NUMBER.sub("N", mine) == _NUMBER.sub("N", theirs)
        values, others = (
            [float(number) for number in _NUMBER.findall(line)] for line in (mine, theirs)
        )
        assert values == pytest.approx(others, rel=rel, abs=1e-4), (mine, theirs)
    assert len(ours) == len(originals)
