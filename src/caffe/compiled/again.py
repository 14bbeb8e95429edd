"""Jobs that are made once and run again on other arrays: making them takes longer than some run."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..pytorch import torch
from .llvm import Job, Program
from .rows import place_of

if TYPE_CHECKING:
    from torch import Tensor

MOST = 256
"""How many are kept, of different sizes."""

Made = TypeVar("Made")


class Again:
    """A program that is made once, and run on arrays of the same sizes.

    Parameters
    ----------
    make : callable
        Returns jobs for some arrays, each of which lies whole.
    """

    def __init__(self, make: Callable[..., Sequence[Job]]) -> None:
        self._make = make
        self._program: Program | None = None
        self._places: list[tuple[Any, int, int, int]] = []

    def run(self, *arrays: Tensor) -> None:
        """Run it on arrays."""
        if self._program is None:
            # Of these some may be the same, which those of another run need not be.
            others = [torch.empty_like(array) for array in arrays]
            jobs = self._make(*others)
            self._program = Program(jobs)
            there = [place_of(array) for array in others]
            self._places = [place for job in jobs for place in _places_of(job, there)]
        addresses = [array.data_ptr() for array in arrays]
        for given, field, which, offset in self._places:
            given[field] = addresses[which] + offset
        self._program.run()


def _places_of(job: Job, arrays: Sequence[range]) -> Iterator[tuple[Any, int, int, int]]:
    """Yield a job's fields that lie in arrays: which field, and array, and how far inside."""
    for inner in job.inner:
        yield from _places_of(inner, arrays)
    for field, which in job.fields_in(arrays):
        yield job.given, field, which, job.given[field] - arrays[which].start


@contextmanager
def lent(kind: Callable[..., Made], *key: Any) -> Iterator[Made]:
    """Lend what was made of a key before, for as many threads, or make it; nobody else has it."""
    free = _free(kind, torch.get_num_threads(), key)
    try:
        found = free.pop()
    except IndexError:
        found = kind(*key)
    yield found
    free.append(found)


@functools.lru_cache(maxsize=MOST)
def _free(kind: Callable[..., Made], threads: int, key: tuple[Any, ...]) -> deque[Made]:
    return deque()


def forget() -> None:
    """Forget all that was made."""
    _free.cache_clear()
