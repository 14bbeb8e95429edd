"""Several iterables are gone through at once, and what comes of them is in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from caffe.bulk.in_order import in_order


@pytest.mark.parametrize("at_once", [1, 3])
def test_items_are_in_order(at_once: int) -> None:
    sizes = [2500, 0, 1, 1000, 999]
    found = list(in_order(([(n, i) for i in range(size)] for n, size in enumerate(sizes)), at_once))
    assert found == [(n, i) for n, size in enumerate(sizes) for i in range(size)]


def test_the_next_ones_are_under_way() -> None:
    # Each waits for all three: one after the other they would wait for ever.
    meeting = threading.Barrier(3, timeout=20)

    def items(number: int) -> Iterator[int]:
        meeting.wait()
        yield number

    assert list(in_order(map(items, range(6)), at_once=3)) == list(range(6))


def test_what_one_raises_is_raised_in_its_turn() -> None:
    def broken() -> Iterator[int]:
        yield 2
        raise ValueError("broken")

    found = in_order([[1], broken(), [3]], at_once=3)
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        list(found)


def test_who_wants_no_more_leaves_no_thread() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    found = in_order([endless(), endless()], at_once=2)
    assert next(found) == 1
    found.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 20
    while any(t.name == "caffe-in-order" for t in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.05)
