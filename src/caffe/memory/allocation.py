"""Where large arrays lie: in large pages, and in memory that was used before."""

from __future__ import annotations

import ctypes
import functools
import platform

import torch
from torch import Tensor

from .. import pages

LARGE = 2**20
"""From how many numbers on an array gets pages of its own."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MOST_KEPT = 2**31 - 1


def empty(count: int) -> Tensor:
    """Return a flat float32 CPU tensor that is to be filled and kept, such as weights.

    A large one lies in large pages where the system has them, see `pages.allocate`.
    """
    if count < LARGE:
        return torch.empty(count)
    return torch.frombuffer(pages.allocate(4 * count), dtype=torch.float32, count=count)


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library hand freed memory out again instead of returning it to the system.

    Large tensors otherwise come as new pages each time, which the system first has to clear:
    for a batch of 50 that is a tenth of CaffeNet's forward. Only glibc is told; elsewhere this
    does nothing. Returns whether it took effect.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, MOST_KEPT))


def give_back_freed_memory() -> None:
    """Return to the system what `keep_freed_memory` kept."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
