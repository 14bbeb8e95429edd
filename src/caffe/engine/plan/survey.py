"""What is known of a plan's memories before it runs: where they come from, how long they live."""

from __future__ import annotations

import math
import weakref
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...memory.blob import Blob, Shape
from ...memory.synced import SyncedMemory
from .operation import Operation

SMALL = 2**12
"""Blobs of at most so many numbers are always written: that costs less than keeping account."""


@dataclass
class Kept:
    """One memory of the net that a plan writes, and what the plan knows of it.

    Attributes
    ----------
    memory : weak reference to SyncedMemory
        The memory; the net may go before the plan.
    shape : tuple of int
        The shape in which the last operation writes it.
    last : int
        The operation after which it holds its final value.
    is_kept : bool
        Whether it is written after each run, looked at or not.
    seen : int
        In how many runs it was looked at; from the second on it is written at once.
    """

    memory: weakref.ref[SyncedMemory]
    shape: Shape
    last: int
    is_kept: bool = False
    seen: int = 0

    @cached_property
    def count(self) -> int:
        """How many numbers it holds, once its shape is known."""
        return math.prod(self.shape)

    @property
    def is_small(self) -> bool:
        """Whether to write it costs less than to keep account of it."""
        return self.count <= SMALL

    def is_wanted(self, memory: SyncedMemory) -> bool:
        """Whether its value is to be written at once, and not only when somebody looks."""
        return self.is_kept or self.seen >= 2 or memory.is_lent


Final = tuple[int, Kept]
Found = tuple[int, Kept, SyncedMemory]
Finals = tuple[list[Found], list[Found]]
"""Memories that are to be written, and those that are left until somebody looks."""


def parted(finals: Iterable[Final], also: Container[int] = ()) -> Finals:
    """Part memories that are to be written, `also` among them, from those that are left."""
    kept: list[Found] = []
    others: list[Found] = []
    for key, final in finals:
        memory = final.memory()
        if memory is not None:
            is_kept = key in also or final.is_wanted(memory)
            (kept if is_kept else others).append((key, final, memory))
    return kept, others


Source = tuple[weakref.ref[SyncedMemory], Shape]
"""A memory that a plan starts from, and the shape in which it is read."""


class Survey:
    """The memories of a plan's operations.

    Parameters
    ----------
    operations : sequence of Operation
        The plan's.
    blobs : mapping of int to Blob
        The net's blobs by their memory's identity.
    read_elsewhere : set of int
        Memories that layers outside the plan read.

    Attributes
    ----------
    sources : dict of int to Source
        The memories that are read before any operation writes them.
    written : dict of int to Kept
        Those that operations write.
    finals : list of list of (int, Kept)
        For each operation, the memories that hold their final values after it.
    released : list of list of int
        For each operation, the memories that no later one reads.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        blobs: Mapping[int, Blob],
        read_elsewhere: set[int],
    ) -> None:
        self.sources: dict[int, Source] = {}
        self.written: dict[int, Kept] = {}
        last_use: dict[int, int] = {}
        for i, made in enumerate(operations):
            for key, shape in zip(made.reads, made.read_shapes, strict=True):
                if key not in self.written and key not in self.sources:
                    self.sources[key] = weakref.ref(blobs[key].memory), shape
                last_use[key] = i
            for key, shape in zip(made.writes, made.shapes, strict=True):
                kept = self.written.setdefault(key, Kept(weakref.ref(blobs[key].memory), shape, i))
                kept.shape, kept.last = shape, i
        for key, kept in self.written.items():
            is_output = last_use.get(key, -1) <= kept.last
            is_hidden = key in operations[kept.last].hidden
            # The next run starts from what this one makes of a source.
            is_source = key in self.sources
            kept.is_kept = (is_output and not is_hidden) or key in read_elsewhere or is_source
        self.finals = [
            [(key, self.written[key]) for key in made.writes if self.written[key].last == i]
            for i, made in enumerate(operations)
        ]
        self.released = [
            [key for key in {*made.reads, *made.writes} if last_use.get(key, i) <= i]
            for i, made in enumerate(operations)
        ]
