"""Where large arrays lie: in large pages, and in memory that was used before."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import pages
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

LARGE = 2**20
"""From how many numbers on an array gets pages of its own."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MMAP_MAX, TRIM_THRESHOLD = 65536, 2**17
"""What glibc begins with."""

MOST_KEPT = 2**31 - 1
WORTH_KEEPING = 2**17
"""From how many bytes on glibc takes memory from the system for a single array."""


def empty(count: int) -> Tensor:
    """Return a flat float32 CPU tensor that is to be filled and kept, such as weights.

    A large one lies in large pages where the system has them, see `pages.allocate`.
    """
    if count < LARGE:
        return torch.empty(count, dtype=torch.float32)
    return torch.frombuffer(pages.allocate(4 * count), dtype=torch.float32, count=count)


@dataclass
class _Runs:
    """How many runs there are at the moment, in all threads."""

    count: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


_runs = _Runs()


class FreedMemory:
    """Lets the C library hand freed memory out again, while a plan runs, and not return it.

    Large tensors otherwise come as new pages each time, which the system first has to clear:
    for a batch of 50 that is a tenth of CaffeNet's forward. Only glibc is told; elsewhere this
    does nothing. What the rest of the program allocates between the runs is as it was; from run
    to run the library keeps no more than a run needs.

    Parameters
    ----------
    need : int
        How many bytes the arrays of a run have, all together.
    largest : int
        How many the largest one has; where it is small, nothing is done.
    """

    def __init__(self, need: int, largest: int) -> None:
        self._kept = min(max(need, TRIM_THRESHOLD), MOST_KEPT)
        self._libc = _glibc() if largest >= WORTH_KEEPING else None

    def __enter__(self) -> None:
        if self._libc is None:
            return
        with _runs.lock:
            _runs.count += 1
            if _runs.count == 1:
                _keep_all(self._libc)

    def __exit__(self, *error: object) -> None:
        if self._libc is None:
            return
        with _runs.lock:
            _runs.count -= 1
            if not _runs.count:
                _keep(self._libc, self._kept)


def _keep(libc: ctypes.CDLL, most: int) -> None:
    """Let large arrays have memory of their own, and so many bytes of others be kept when freed."""
    libc.mallopt(M_MMAP_MAX, MMAP_MAX)
    libc.mallopt(M_TRIM_THRESHOLD, most)


def _keep_all(libc: ctypes.CDLL) -> None:
    """Let whatever is freed be kept."""
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


@contextlib.contextmanager
def returning_memory() -> Iterator[None]:
    """Return freed memory to the system at once, even while a plan runs.

    For what is prepared within a run: weights on their way into another form take memory that no
    run needs again.
    """
    give_back_freed_memory()
    libc = _glibc()
    if libc is not None:
        with _runs.lock:
            _keep(libc, TRIM_THRESHOLD)
    try:
        yield
    finally:
        give_back_freed_memory()
        if libc is not None:
            with _runs.lock:
                if _runs.count:
                    _keep_all(libc)


def give_back_freed_memory() -> None:
    """Return to the system what was kept for runs, and keep nothing until the next one."""
    libc = _glibc()
    if libc is None:
        return
    with _runs.lock:
        if not _runs.count:
            libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    libc.malloc_trim(0)
