"""Work is done ahead in threads, in order, no further ahead than asked, and can be left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, islice

import pytest

from caffe.io.read_ahead import read_ahead

NAME = "caffe-read-ahead"


def workers() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_results_come_in_order_although_later_ones_are_done_first() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(10)
        if number == 3:
            first_may_end.set()
        return number * number

    results = read_ahead(work, range(8), ahead=5, workers=2)
    assert list(results) == [number * number for number in range(8)]


def test_items_are_taken_by_the_callers_thread_and_worked_on_by_others() -> None:
    def items() -> Iterator[str]:
        for _ in range(4):
            yield threading.current_thread().name

    def work(taken_by: str) -> tuple[str, str]:
        return taken_by, threading.current_thread().name

    here = threading.current_thread().name
    assert set(read_ahead(work, items(), ahead=2)) == {(here, NAME)}


def test_it_works_while_the_caller_is_busy_but_only_so_far_ahead() -> None:
    done: list[int] = []
    results = read_ahead(done.append, count(), ahead=3, workers=2)
    next(results)
    wait_until(lambda: len(done) == 4)
    time.sleep(0.02)
    assert sorted(done) == [0, 1, 2, 3]
    assert len(list(islice(results, 5))) == 5
    wait_until(lambda: len(done) == 9)
    results.close()


def test_no_more_threads_than_items_or_workers() -> None:
    before = workers()
    results = read_ahead(str, range(2), ahead=4, workers=8)
    next(results)
    assert workers() <= before + 2
    results.close()
    results = read_ahead(str, count(), ahead=20, workers=3)
    next(results)
    assert workers() <= before + 2 + 3
    results.close()


def test_an_error_is_raised_in_its_turn() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("number 2")
        return number

    results = read_ahead(work, range(5), ahead=4, workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="number 2"):
        next(results)
    assert list(results) == []


def test_no_thread_is_left_after_the_last_result() -> None:
    before = workers()
    assert list(read_ahead(str, range(50), ahead=10, workers=4))
    assert workers() <= before


def test_without_items_there_are_no_results() -> None:
    assert list(read_ahead(str, [], ahead=4)) == []


def test_leaving_early_drops_what_has_not_begun_and_ends_the_threads() -> None:
    before, begun, go_on = workers(), [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        assert number == 0 or go_on.wait(10)

    results = read_ahead(work, range(100), ahead=50, workers=2)
    next(results)
    wait_until(lambda: len(begun) == 3)
    start = time.monotonic()
    results.close()
    # It does not wait long for the work that is under way.
    assert time.monotonic() - start < 5
    go_on.set()
    wait_until(lambda: workers() <= before)
    assert len(begun) == 3
