"""Doing the next pieces of work in threads while the first results are used."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from ..threads import allowed

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_WORKERS = 8
PATIENCE = 0.5
"""Seconds to wait for work in hand when the rest is no longer wanted."""


def read_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
    workers: int | None = None,
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for each item, in order, with the next ones under way in threads.

    `items` is iterated by the caller's thread. Nothing starts before the first result is asked
    for; whoever stops early should ``close()`` the iterator, which drops what has not begun and
    waits half a second at most for what has.

    Parameters
    ----------
    function : callable
        Run in several threads at once. What it raises is raised in its item's turn, and ends
        the results.
    items : iterable
        As many as there are, or without end.
    ahead : int
        How many results there may be, finished or under way, beyond the one in hand.
    workers : int, optional
        Threads; by default as many as compute, see `caffe.threads`, at most 8.

    Notes
    -----
    Data layers read ahead by another mechanism (`layers.sources.prefetching`): there one thread
    runs a reader without end, closes its files itself, and must not keep whoever drops the layer
    waiting; here several threads share out items that the caller's thread hands over.

    Examples
    --------
    >>> list(read_ahead(str.upper, ["cat", "dog"], ahead=1))
    ['CAT', 'DOG']
    """
    if workers is None:
        workers = min(allowed(), MOST_WORKERS)
    tasks: SimpleQueue[tuple[Item, Future[Result]] | None] = SimpleQueue()
    pending: deque[Future[Result]] = deque()
    threads: list[threading.Thread] = []
    try:
        for item in items:
            pending.append(Future())
            tasks.put((item, pending[-1]))
            if len(threads) < min(workers, len(pending)):
                # Daemons, and not a ThreadPoolExecutor, whose threads an ending interpreter
                # waits for: one may wait for a server that does not answer.
                thread = threading.Thread(
                    target=_work, args=(function, tasks), name="caffe-read-ahead", daemon=True
                )
                thread.start()
                threads.append(thread)
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for _ in threads:
            tasks.put(None)
        _join(threads)


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait a little for threads that end once their work in hand is done.

    A daemon that comes back from compiled code into an interpreter that is ending can take the
    process down.
    """
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))


def _work(
    function: Callable[[Item], Result], tasks: SimpleQueue[tuple[Item, Future[Result]] | None]
) -> None:
    while (task := tasks.get()) is not None:
        _do(function, *task)
        # The thread that waits would keep a picture alive.
        del task


def _do(function: Callable[[Item], Result], item: Item, future: Future[Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(item))
    except BaseException as error:
        future.set_exception(error)
