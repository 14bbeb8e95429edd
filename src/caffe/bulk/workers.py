"""Several processes that work on a run's shards at once, and one that hands these out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from ..errors import CaffeError
from ..threads import shared_among
from .footprint import keep_small
from .job import Job
from .parts import Count
from .plan import shards_of
from .working import Done, Tell, work

TRIES = 3
"""How often a shard may be in the hands of a process that dies."""
PATIENCE = 5.0
"""Seconds that processes have to end."""
_TOLD_EVERY = 0.2

LIBRARIES = ["numpy", "torch", "pyarrow.parquet", "PIL.Image"]
"""What processes share on Linux. None of this package: another `caffe` may stand first there."""

WANT, COUNT, DONE, FAILED, PASSED = "want", "count", "done", "failed", "passed"


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    has: set[int] = field(default_factory=set)
    """The shards that it works on."""


class Workers:
    """Processes, each with the net loaded.

    One that dies (killed for want of memory, a fault in a decoder) is replaced, and its shards are
    given out again, a few times.

    Parameters
    ----------
    job : Job
        The run.
    count : int
        How many processes.
    """

    def __init__(self, job: Job, count: int) -> None:
        self._job, self._count = job, count
        self._workers: list[_Worker] = []
        self._deaths: Counter[int] = Counter()
        self._again: list[int] = []
        self._given_up: list[int] = []
        self._how = ""

    def __enter__(self) -> Workers:
        with _threads_for_each(self._count):
            self._workers = [self._started() for _ in range(self._count)]
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.pipe.close()
        until = time.monotonic() + PATIENCE
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()) if error[0] is None else 0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def work(self, numbers: Iterator[int], tell: Tell) -> Iterator[Done]:
        """Work on the shards of these numbers; yield each when its rows are kept.

        Raises
        ------
        CaffeError
            A process could not go on; or shards are left over on which processes died.
        """
        while self._workers:
            pipes: dict[Any, _Worker] = {worker.pipe: worker for worker in self._workers}
            for pipe in wait(list(pipes)):
                worker = pipes[pipe]
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    self._bury(worker)
                    continue
                if kind == COUNT:
                    tell(value)
                elif kind == DONE:
                    worker.has.discard(value.shard)
                    yield value
                elif kind == PASSED:
                    worker.has.discard(value)
                elif kind == FAILED:
                    raise CaffeError(value)
                else:
                    self._hand(worker, numbers)
        if self._given_up:
            shards = ", ".join(map(str, self._given_up))
            raise CaffeError(
                f"the process that worked on shard {shards} {self._how}, {TRIES} times each; all "
                "others are done. More memory, fewer --workers or a smaller --batch may help"
            )

    def _hand(self, worker: _Worker, numbers: Iterator[int]) -> None:
        number = self._again.pop() if self._again else next(numbers, None)
        if number is not None:
            worker.has.add(number)
        with suppress(OSError):
            worker.pipe.send(number)

    def _bury(self, worker: _Worker) -> None:
        """Take away a process that has ended; put another in its place where it had work left."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        if not worker.has and worker.process.exitcode == 0:
            return
        status = worker.process.exitcode
        self._how = f"was ended by signal {-status}" if status < 0 else f"ended with {status}"
        self._deaths.update(worker.has)
        for number in worker.has:
            hopeless = self._deaths[number] >= TRIES
            (self._given_up if hopeless else self._again).append(number)
        if not worker.has:
            raise CaffeError(f"a process {self._how} before it had any work")
        with _threads_for_each(self._count):
            self._workers.append(self._started())

    def _started(self) -> _Worker:
        context = _context()
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_work_for, args=(self._job, theirs), name="caffe-bulk", daemon=True
        )
        try:
            with _uninterrupted():
                process.start()
        except (EOFError, OSError) as error:
            reason = getattr(error, "strerror", None) or "what starts them was ended"
            raise CaffeError(f"no process can be started: {reason}") from error
        theirs.close()
        return _Worker(process, ours)


def _context() -> Any:
    """How processes are started: each with memory of its own, but for the libraries' where it can.

    A fork of this process would have its locks, but not its threads. On Linux a process without
    threads loads the libraries once, and the others are forked from it.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    return context


@contextmanager
def _threads_for_each(count: int) -> Iterator[None]:
    """Let each process that is started inside compute by its part of the threads."""
    wanted = shared_among(count)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C from processes that are started inside: each would tell of it in many lines."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Whoever starts this one lets Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work_for(job: Job, pipe: Connection) -> None:
    """What a process does: ask for shards until there are none, and tell what became of them."""
    # From the terminal Ctrl-C reaches the whole group; the first process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_small()
    try:
        told = _Told(pipe.send)
        for done in work(job.task.open(), job.store, shards_of(job, _asked(pipe)), told.count):
            told.send()
            pipe.send((DONE, done))
        told.send()
    except (BrokenPipeError, ConnectionError, EOFError):
        # The first process has gone, so that nobody wants this any more.
        os._exit(0)
    except CaffeError as error:
        with suppress(OSError):
            pipe.send((FAILED, str(error)))


def _asked(pipe: Connection) -> Iterator[int]:
    while True:
        pipe.send((WANT, None))
        number = pipe.recv()
        if number is None:
            return
        yield number


class _Told:
    """Tells counts now and then, and not for each batch."""

    def __init__(self, send: Callable[[Any], object]) -> None:
        self._send = send
        self._held = Count(0, 0)
        self._last = time.monotonic()

    def count(self, count: Count) -> None:
        self._held = self._held + count
        if time.monotonic() - self._last > _TOLD_EVERY:
            self.send()

    def send(self) -> None:
        if self._held.pictures:
            self._send((COUNT, self._held))
        self._held, self._last = Count(0, 0), time.monotonic()
