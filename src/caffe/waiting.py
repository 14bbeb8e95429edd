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
from collections.abc import Callable

from .processes import in_forked_child
from .pytorch import torch
from .threads import times_of, words_of

INTERVAL = (0.1, 2.0)
"""Seconds from one look to the next, at least and at most."""

COST = 0.005
"""Which part of the time looks may take."""

ENOUGH = 5 * 10**7
"""How many nanoseconds of all threads' time tell whether CPUs are wanted."""

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

TOLD = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_THREAD_LIMIT", "OMP_DYNAMIC")
"""By what a person says how threads of GNU's OpenMP wait, or gets fewer than are asked for."""


class Working:
    """Work of many threads: now and then a look at whether others want the CPUs meanwhile.

    Then threads wait for each other as is better from then on.
    """

    __slots__ = ("_watch",)

    def __enter__(self) -> None:
        """Begin to look, if it is time to."""
        watch = _Process.watch or _first_watch()
        self._watch = watch if watch.is_due and watch.begin() else None

    def __exit__(self, *_: object) -> None:
        """See what came of it."""
        if self._watch is not None:
            self._watch.end()


class Timed:
    """How long work takes, and whether others wanted the CPUs meanwhile.

    Parameters
    ----------
    counts : bool
        Whether to look at the latter, which takes some 10 us for each thread of the process.
    root : str
        Below which folder Linux's ``proc`` is.

    Attributes
    ----------
    seconds : float
        How long it took.
    is_disturbed : bool
        Whether threads had to wait for CPUs; False where nobody counts.
    """

    def __init__(self, counts: bool, root: str = "/") -> None:
        self._counts, self._root = counts, root
        self.seconds, self.is_disturbed = 0.0, False

    def __enter__(self) -> Timed:
        """Begin."""
        self._before = self._waited()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """See how long it was."""
        self.seconds = time.perf_counter() - self._began
        waited = self._waited() - self._before
        # How long threads have run the kernel tells too late for a run of a millisecond.
        self.is_disturbed = waited > WANTED * self.seconds * 1e9 * torch.get_num_threads()

    def _waited(self) -> int:
        try:
            return _counted(self._root)[1] if self._counts else 0
        except OSError:
            return 0


class Watch:
    """Sees whether a process's threads have to wait for CPUs, and lets them sleep soon meanwhile.

    Parameters
    ----------
    openmp : ctypes.CDLL, optional
        GNU's OpenMP as PyTorch has loaded it; without it there is nothing to see to.
    root : str
        Below which folder Linux's ``proc`` is.
    clock : callable
        Tells the time in seconds.
    """

    def __init__(
        self,
        openmp: ctypes.CDLL | None,
        root: str = "/",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._openmp, self._root, self._clock = openmp, root, clock
        self._lock = threading.Lock()
        self._team: IdleTeam | None = None
        self._rest, self._ended, self._until = RESTS[0], -math.inf, -math.inf
        self._before = self._seen = 0, 0
        self._cost = 0.0
        self._next = math.inf if openmp is None else -math.inf

    @property
    def lets_sleep(self) -> bool:
        """Whether threads sleep soon at the moment."""
        return self._team is not None

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return self._clock() >= self._next

    def begin(self) -> bool:
        """Count what threads have run and waited; say whether to call `end` behind the work."""
        if not self._lock.acquire(blocking=False):
            return False
        is_begun = False
        try:
            self._before = self._count()
            is_begun = True
        except OSError:
            self._next = self._clock() + RESTS[1]
        finally:
            if not is_begun:
                self._lock.release()
        return is_begun

    def end(self) -> None:
        """Count again, and once there is enough to tell follow what it says."""
        try:
            first, last = self._before, self._count()
            ran, waited = (b - a + old for a, b, old in zip(first, last, self._seen, strict=True))
            self._next = self._clock() + min(INTERVAL[1], max(INTERVAL[0], self._cost / COST))
            self._cost = 0.0
            # Threads that have ended take their times with them.
            self._seen = (ran, waited) if ran >= 0 and waited >= 0 else (0, 0)
            if sum(self._seen) >= ENOUGH:
                self._seen = 0, 0
                self._follow(waited / (ran + waited))
        except (OSError, RuntimeError):
            # The kernel does not tell, or there is no room for a thread.
            self._next = self._clock() + RESTS[1]
        finally:
            self._lock.release()

    def _follow(self, waited: float) -> None:
        now = self._clock()
        if self._team is not None:
            if waited < FREE and now >= self._until:
                self._team.end()
                self._team, self._ended = None, now
            return
        count = torch.get_num_threads()
        if waited < WANTED or self._openmp is None or count == 1:
            return
        free = max(0, self._openmp.omp_get_num_procs() - count)
        # With as many CPUs as that beside them others need not want these; and a team is no
        # reason to make a great number of threads.
        if free > count:
            return
        is_again = now - self._ended < RESTS[0]
        self._rest = min(2 * self._rest, RESTS[1]) if is_again else RESTS[0]
        self._until = now + self._rest
        self._team = IdleTeam(self._openmp, free + 2)

    def _count(self) -> tuple[int, int]:
        """Return what the kernel has counted until now, and note what that costs."""
        start = time.thread_time()
        counted = _counted(self._root)
        self._cost += time.thread_time() - start
        return counted


def _counted(root: str) -> tuple[int, int]:
    """For how many nanoseconds all threads of this process have run, and waited for a CPU."""
    ran = waited = 0
    for task in os.listdir(os.path.join(root, "proc/self/task")):
        times = times_of(root, f"proc/self/task/{task}")
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

    Raises
    ------
    RuntimeError
        There is no room for another thread.
    """

    def __init__(self, openmp: ctypes.CDLL, size: int) -> None:
        self._is_there, self._is_over = threading.Event(), threading.Event()
        # A team is there for as long as the thread that started it.
        thread = threading.Thread(
            target=self._live, args=(openmp, size), name="caffe-idle-team", daemon=True
        )
        thread.start()
        try:
            self._is_there.wait()
        except BaseException:
            self.end()
            raise

    def _live(self, openmp: ctypes.CDLL, size: int) -> None:
        try:
            # Each of them frees nothing, which needs no Python.
            work = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)
            openmp.GOMP_parallel(work, None, ctypes.c_uint(size), ctypes.c_uint(0))
        finally:
            self._is_there.set()
        self._is_over.wait()

    def end(self) -> None:
        """Let the others turn again."""
        self._is_over.set()


class _Process:
    watch: Watch | None = None
    lock = threading.Lock()


@in_forked_child
def _forget() -> None:
    # It has none of its parent's threads.
    _Process.watch, _Process.lock = None, threading.Lock()


def _first_watch() -> Watch:
    with _Process.lock:
        if _Process.watch is None:
            _Process.watch = Watch(_gnu_openmp())
        return _Process.watch


def _gnu_openmp() -> ctypes.CDLL | None:
    """PyTorch's OpenMP, if it is GNU's, nobody has told it how to wait, and the kernel counts."""
    is_told = any(name in os.environ for name in TOLD)
    # This loads PyTorch.
    if torch.get_num_threads() < 1 or is_told or times_of("/", "proc/self") is None:
        return None
    try:
        # Others may have brought their own: the same name, and other threads.
        folder = os.path.dirname(torch.__file__)
        own = _address_in(ctypes.CDLL(os.path.join(folder, "lib", "libtorch_cpu.so")))
        for line in words_of("/", "proc/self/maps", "\n"):
            _, slash, path = line.partition("/")
            if "libgomp" in os.path.basename(path):
                library = ctypes.CDLL(slash + path)
                if _address_in(library) == own:
                    return library
    except (AttributeError, OSError):
        pass
    return None


def _address_in(library: ctypes.CDLL) -> int | None:
    return ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value
