"""How the threads that compute wait for each other: turning, or asleep where others want the CPUs.

PyTorch computes by OpenMP, whose threads wait for each other at the end of every piece of work.
Who waits by turning in a loop is there at once when work comes, which saves a small net a third of
its time. But where another process, or another thread of this one, wants that CPU, they turn for
its whole share of time, and a net takes many times as long.

GNU's OpenMP, which PyTorch's wheels for Linux carry, lets threads turn for milliseconds, but for
some 20 us only while there are more of them than CPUs. So a further team of threads, which do
nothing, makes all of them sleep soon, and its end lets them turn again. Which is better, the kernel
knows: it counts how long threads that could have run have waited for a CPU.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time

from .processes import in_forked_child
from .pytorch import torch
from .threads import GNU_WAITING, times_of, words_of

INTERVAL = 0.1
"""Seconds from one look to the next, at least."""

COST = 0.002
"""Which part of the time looks may take."""

LEAST_WORK = 0.3
"""Which part of the time since the last look must have been work, or its waits tell nothing.

While there is none, other threads of this process may wait for each other.
"""

WANTED, FREE = 0.08, 0.04
"""From which part of their time on, waited for CPUs, these are wanted, and below which free.

Alone on two CPUs threads wait for 0.01 of it, beside one process for 0.2 to 0.4, however they wait
for each other.
"""

RESTS = (1.0, 60.0)
"""For how many seconds threads sleep soon, at first and at most.

Who is in the way again soon after turning again is given twice as long: threads that turn may be in
the way of others of this very process, which need not wait for a CPU while these sleep.
"""


class Working:
    """Work of many threads; as it begins, now and then, there is a look whether others want CPUs.

    Then threads wait for each other as is better. For 0.1 s nobody looks again.
    """

    def __enter__(self) -> None:
        """Look, if it is time to."""
        watch = _Process.watch
        if watch is None:
            watch = _Process.watch = Watch(_gnu_openmp())
        self._watch, self._start = watch, time.monotonic()
        if self._start >= watch.next:
            watch.look()

    def __exit__(self, *_: object) -> None:
        """Note how long it took."""
        self._watch.worked += time.monotonic() - self._start


class Watch:
    """Sees whether a process's threads have to wait for CPUs, and lets them sleep soon meanwhile.

    Parameters
    ----------
    openmp : ctypes.CDLL, optional
        GNU's OpenMP as PyTorch has loaded it; without it there is nothing to see to.
    root : str
        Below which folder Linux's ``proc`` is.

    Attributes
    ----------
    next : float
        When to look again, by `time.monotonic`.
    worked : float
        For how many seconds there was work since the last look.
    """

    def __init__(self, openmp: ctypes.CDLL | None, root: str = "/") -> None:
        self._openmp, self._root = openmp, root
        self._lock = threading.Lock()
        self._team: IdleTeam | None = None
        self._rest, self._ended, self._until = RESTS[0], -math.inf, -math.inf
        self._times = 0, 0
        self._looked, self.worked = 0.0, math.inf
        self.next = math.inf if openmp is None else -math.inf

    @property
    def lets_sleep(self) -> bool:
        """Whether threads sleep soon at the moment."""
        return self._team is not None

    def look(self) -> None:
        """Compare what threads have run and waited with the last look, first with their start."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            now = time.monotonic()
            before, self._times = self._times, self._count()
            is_known = self.worked >= LEAST_WORK * (now - self._looked)
            self._looked, self.worked = now, 0.0
            self.next = now + max(INTERVAL, (time.monotonic() - now) / COST)
            ran, waited = (b - a for a, b in zip(before, self._times, strict=True))
            # Threads that have ended take their times with them.
            is_known &= ran > 0 and waited >= 0
            self._follow(waited / (ran + waited) if is_known else None, now)
        finally:
            self._lock.release()

    def _follow(self, waited: float | None, now: float) -> None:
        count = torch.get_num_threads()
        if self._team is None:
            if waited is None or waited < WANTED or self._openmp is None or count == 1:
                return
            is_again = now - self._ended < RESTS[0]
            self._rest = min(2 * self._rest, RESTS[1]) if is_again else RESTS[0]
            self._until = now + self._rest
            free = max(0, self._openmp.omp_get_num_procs() - count)
            self._team = IdleTeam(self._openmp, free + 2)
        elif (waited is None or waited < FREE) and now >= self._until:
            self._team.end()
            self._team, self._ended = None, now

    def _count(self) -> tuple[int, int]:
        """For how many nanoseconds all threads have run, and waited for a CPU."""
        ran = waited = 0
        for task in os.listdir(os.path.join(self._root, "proc/self/task")):
            times = times_of(self._root, f"proc/self/task/{task}")
            if times is not None:
                ran, waited = ran + times[0], waited + times[1]
        return ran, waited


class IdleTeam:
    """Threads of GNU's OpenMP that do nothing, but while they are there all others sleep soon.

    Parameters
    ----------
    openmp : ctypes.CDLL
        The library.
    size : int
        How many threads there are.
    """

    def __init__(self, openmp: ctypes.CDLL, size: int) -> None:
        self._is_there, self._is_over = threading.Event(), threading.Event()
        # A team is there for as long as the thread that started it.
        thread = threading.Thread(
            target=self._live, args=(openmp, size), name="caffe-idle-team", daemon=True
        )
        thread.start()
        self._is_there.wait()

    def _live(self, openmp: ctypes.CDLL, size: int) -> None:
        # Each of them frees nothing, which needs no Python.
        work = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
        openmp.GOMP_parallel(work, None, ctypes.c_uint(size), ctypes.c_uint(0))
        self._is_there.set()
        self._is_over.wait()

    def end(self) -> None:
        """Let the others turn again."""
        self._is_over.set()


class _Process:
    watch: Watch | None = None


def _forget() -> None:
    _Process.watch = None


# It has none of its parent's threads.
in_forked_child(_forget)


def _gnu_openmp() -> ctypes.CDLL | None:
    """PyTorch's OpenMP, if it is GNU's, nobody has told it how to wait, and the kernel counts."""
    # This loads it.
    torch.get_num_threads()
    is_told = any(name in os.environ for name in GNU_WAITING)
    if is_told or times_of("/", "proc/self") is None:
        return None
    for line in words_of("/", "proc/self/maps", "\n"):
        _, slash, path = line.partition("/")
        if "libgomp" in os.path.basename(path):
            return ctypes.CDLL(slash + path)
    return None
