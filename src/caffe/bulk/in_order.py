"""Going through several iterables in order, with the next ones under way in threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from queue import Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")

_TOGETHER = 1000
_HELD = 4
"""Blocks of so many items that one iterable may be ahead."""
_LOOK = 0.2
"""Seconds until a thread looks whether anybody still wants what it has."""


def in_order(iterables: Iterable[Iterable[Item]], at_once: int) -> Iterator[Item]:
    """Yield what each iterable yields, one iterable after the other.

    Parameters
    ----------
    iterables : iterable of iterable
        What one raises is raised in its turn. Each is gone through in a thread of its own.
    at_once : int
        How many are gone through at once; each is a few thousand items ahead at most. With 1 there
        are no threads.

    Examples
    --------
    >>> list(in_order([[1, 2], [], [3]], at_once=2))
    [1, 2, 3]
    """
    if at_once == 1:
        for iterable in iterables:
            yield from iterable
        return
    left = threading.Event()
    rest = iter(iterables)
    try:
        begun = deque(_Begun(iterable, left) for iterable in islice(rest, at_once))
        while begun:
            yield from begun.popleft()
            begun.extend(_Begun(iterable, left) for iterable in islice(rest, 1))
    finally:
        left.set()


class _Begun(Generic[Item]):
    """An iterable that a thread goes through."""

    def __init__(self, iterable: Iterable[Item], left: threading.Event) -> None:
        self._blocks: Queue[list[Item] | BaseException] = Queue(_HELD)
        self._iterable, self._left = iterable, left
        threading.Thread(target=self._go, name="caffe-in-order", daemon=True).start()

    def __iter__(self) -> Iterator[Item]:
        while block := self._blocks.get():
            if isinstance(block, BaseException):
                raise block
            yield from block

    def _go(self) -> None:
        items = iter(self._iterable)
        try:
            while block := list(islice(items, _TOGETHER)):
                self._put(block)
            self._put([])
        except _Unwanted:
            return
        except BaseException as error:
            self._put(error)

    def _put(self, block: list[Item] | BaseException) -> None:
        while not self._left.is_set():
            try:
                self._blocks.put(block, timeout=_LOOK)
                return
            except Full:
                continue
        raise _Unwanted


class _Unwanted(Exception):
    """Nobody asks for more."""
