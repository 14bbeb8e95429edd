"""Memory for weights and values that kernels read: many in few large pages."""

from __future__ import annotations

import contextlib
import mmap
from typing import TYPE_CHECKING, Protocol

from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

PAGE = 2**21
"""How many bytes a large page has."""

CHUNK = 2**24
"""How many numbers are taken from the system at once, or as many as one array has."""

LINE = 16
"""How many numbers a line of the cache has: each array begins with one."""


SCRATCH = 2**23
"""How many numbers a scratch has at least: the system gives what is used of it."""


class Memory(Protocol):
    """What has memory for numbers."""

    def take(self, count: int) -> Tensor:
        """Return so many zeros."""
        ...

    def scratch(self, count: int) -> Tensor:
        """Return so many numbers that anybody may write over: all who ask have the same."""
        ...


class Anywhere:
    """Memory as PyTorch finds it."""

    def take(self, count: int) -> Tensor:
        """Return so many zeros."""
        return torch.zeros(count, dtype=torch.float32)

    def scratch(self, count: int) -> Tensor:
        """Return so many numbers that are not anybody else's."""
        return self.take(count)


ANYWHERE = Anywhere()


class LargePages:
    """Memory in large pages, where the system has them: addresses are found faster there.

    On a virtual machine a small page that is new costs as much as reading it. What has been taken
    is there until nobody has anything of the same chunk.

    Attributes
    ----------
    scratches : list of Tensor
        All that somebody may write over.
    """

    def __init__(self) -> None:
        self._scratch = self._left = torch.empty(0, dtype=torch.float32)
        self.scratches: list[Tensor] = []

    def take(self, count: int) -> Tensor:
        """Return so many zeros."""
        whole = -(-count // LINE) * LINE
        if len(self._left) < whole:
            self._left = _chunk(max(whole, min(CHUNK, 4 * whole)))
        found, self._left = self._left[:count], self._left[whole:]
        return found

    def scratch(self, count: int) -> Tensor:
        """Return so many numbers that anybody may write over: it stays in the cache."""
        if len(self._scratch) < count:
            self._scratch = self.take(max(count, SCRATCH))
            self.scratches.append(self._scratch)
        return self._scratch[:count]


def _chunk(count: int) -> Tensor:
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(count, dtype=torch.float32)
    size = -(-4 * count // PAGE) * PAGE
    memory = mmap.mmap(-1, size + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # A kernel without them refuses; the memory will do.
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(memory, dtype=torch.float32)
    first = -whole.data_ptr() % PAGE // 4
    return whole[first : first + size // 4]
