"""Layers that compute some pictures at a time, one behind the other: these stay in the cache."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...compiled import caches
from ...compiled.lanes import Loop, in_lanes
from ...compiled.llvm import Job
from ...compiled.memory import LargePages
from ...compiled.rows import place_of
from ...pytorch import torch
from .llvm_nodes import Node
from .llvm_values import Arena, Value

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = 1.0
"""How many times as many bytes the weights may have as the pictures that they are read for."""


@dataclass
class Step:
    """Nodes that run one behind the other, for some pictures after the other.

    Attributes
    ----------
    nodes : list of Node
        Which.
    pictures, number : int
        How many pictures are computed at a time, and how many there are; 0 where the one node
        computes all that there is.
    inner : set of int
        What is read by nobody else, by its root's identity: it has memory for those pictures.
    """

    nodes: list[Node]
    pictures: int = 0
    number: int = 0
    inner: set[int] = field(default_factory=set)

    @property
    def roots(self) -> dict[int, Value]:
        """What the nodes read and make, by identity."""
        values = (value for node in self.nodes for value in (*node.inputs, node.output))
        return {id(value.root): value.root for value in values}

    @contextmanager
    def some(self) -> Iterator[None]:
        """Let all values have as many pictures as are computed at a time."""
        values = {id(x): x for node in self.nodes for x in (*node.inputs, node.output)}
        shapes = [(x, x.shape) for x in (self.roots | values).values()] if self.pictures else []
        for value, shape in shapes:
            value.shape = (self.pictures, *shape[1:])
        try:
            yield
        finally:
            for value, shape in shapes:
                value.shape = shape

    def repeated(self, jobs: Sequence[Job], own: Own) -> list[Job]:
        """Return what computes all pictures, given what computes the first ones.

        Where there are enough of them each thread has some for itself: none waits for another, and
        reads what another has written.
        """
        if not self.pictures:
            return list(jobs)
        places = [_Place.of(root) for key, root in self.roots.items() if key not in self.inner]
        firsts, threads = range(0, self.number, self.pictures), torch.get_num_threads()
        moves = [[place.behind(first) for place in places] for first in firsts]
        if not 1 < threads <= len(firsts):
            return [_moved(job, some) for some in moves for job in jobs]
        inner = [root.memory for key, root in self.roots.items() if key in self.inner]
        lanes = []
        for t in range(threads):
            mine = own.moves(inner, jobs, t)
            some = moves[len(moves) * t // threads : len(moves) * (t + 1) // threads]
            lanes.append([Loop([_moved(job, [*mine, *there]) for job in jobs]) for there in some])
        found = in_lanes(lanes)
        found.kept = found.kept, own
        return [found]


class Own:
    """What threads have for themselves of what all others would write, too.

    Parameters
    ----------
    memory : LargePages
        Where the first thread's lies, with every scratch.
    """

    def __init__(self, memory: LargePages) -> None:
        self._memory = memory
        self._arrays: dict[tuple[int, range], Tensor] = {}

    def moves(self, arrays: Sequence[Tensor], jobs: Sequence[Job], thread: int) -> list[_Move]:
        """Return where arrays, and every scratch that jobs have, lie for a thread."""
        if thread == 0:
            return []
        found = []
        for array in (*arrays, *self._memory.scratches):
            place = place_of(array)
            if any(any(job.fields_in([place])) for job in jobs):
                if (thread, place) not in self._arrays:
                    self._arrays[thread, place] = self._memory.take(len(array))
                other = self._arrays[thread, place]
                found.append(_Move(place, other.data_ptr() - place.start))
        return found


@dataclass
class _Move:
    """What lies in a place belongs so many bytes further."""

    place: range
    by: int


@dataclass
class _Place:
    """Where pictures lie, and how many bytes each has."""

    place: range
    each: int

    @classmethod
    def of(cls, value: Value) -> _Place:
        """Return where a value's pictures lie."""
        whole = value.tensor() if value.planes is None else value.planes
        place = place_of(whole)
        return cls(place, len(place) // len(whole))

    def behind(self, pictures: int) -> _Move:
        """Return the move to what so many pictures are before."""
        return _Move(self.place, pictures * self.each)


def _moved(job: Job, moves: Sequence[_Move]) -> Job:
    """Return a job whose arrays lie elsewhere."""
    given = (ctypes.c_int64 * len(job.given))(*job.given)
    for number, which in job.fields_in([move.place for move in moves]):
        given[number] += moves[which].by
    return Job(job.function, given, job.threads)


def steps_of(nodes: Sequence[Node], wanted: set[int]) -> list[Step]:
    """Part nodes into steps: neighbours together whose pictures would leave the cache between them.

    Parameters
    ----------
    nodes : sequence of Node
        In the order in which they run.
    wanted : set of int
        The values that are read in the end, by their roots' identities.
    """
    steps: list[Step] = []
    i = 0
    while i < len(nodes):
        stop, pictures, number = _run(nodes, i)
        steps.append(Step(list(nodes[i:stop]), pictures, number))
        i = stop
    uses: dict[int, set[int]] = {}
    made = {id(node.output.root) for node in nodes}
    for k, step in enumerate(steps):
        for key in step.roots:
            uses.setdefault(key, set()).add(k)
    for k, step in enumerate(steps):
        if step.pictures:
            alone = {key for key in step.roots if uses[key] == {k}}
            step.inner = alone & made - wanted
    return steps


def _run(nodes: Sequence[Node], first: int) -> tuple[int, int, int]:
    """Where nodes end that compute some pictures at a time, how many, and of how many."""
    number, size = _pictures(nodes[first])
    threads = torch.get_num_threads()
    most = caches.second() * threads
    if not number or number * size <= most:
        return first + 1, 0, 0
    if number >= threads:
        # Each thread has some for itself. Fewer at a time would have weights read more often.
        most = 2 * caches.second()
    together = range(2, number if number < threads else number // threads + 1)
    fitting = [n for n in together if number % n == 0 and n * size <= most]
    pictures = max(fitting, default=1)
    stop = first
    while stop < len(nodes):
        own_number, size = _pictures(nodes[stop])
        fits = pictures == 1 or pictures * size <= most
        is_light = nodes[stop].weights_bytes <= WEIGHTS * pictures * size
        if own_number != number or not fits or not is_light:
            break
        stop += 1
    return (stop, pictures, number) if stop - first > 1 else (first + 1, 0, 0)


def _pictures(node: Node) -> tuple[int, int]:
    """How many pictures a node computes each by itself, if any, and how many bytes one takes."""
    values = {id(x): x for x in (*node.inputs, node.output)}.values()
    number = node.output.shape[0] if node.output.shape else 0
    is_alike = all(
        x.is_of_pictures and x.root.is_of_pictures and x.constant is None and x.shape[0] == number
        for x in values
    )
    if not node.is_by_picture or not is_alike or any(x.is_seen for x in values):
        return 0, 0
    return number, sum(math.prod(x.shape[1:]) * x.dtype.itemsize for x in values)


def settle(steps: Sequence[Step], wanted: set[int], arena: Arena) -> None:
    """Give all values that are made their memory; what is read no more leaves it to others."""
    last = {
        id(value.root): (k, n)
        for k, step in enumerate(steps)
        for n, node in enumerate(step.nodes)
        for value in (*node.inputs, node.output)
    }
    made = {id(node.output.root) for step in steps for node in step.nodes} - wanted
    memories: dict[int, torch.Tensor] = {}
    for k, step in enumerate(steps):
        late = set(step.roots) - step.inner if step.pictures else set()
        for root in (node.output.root for node in step.nodes):
            if id(root) in late and id(root) not in memories:
                memories[id(root)] = arena.take(root.count)
                root.settle(memories[id(root)])
        with step.some():
            for n, node in enumerate(step.nodes):
                values = {id(value.root) for value in (*node.inputs, node.output)}
                ended = {key for key in values & made - late if last[key] == (k, n)}
                root = node.output.root
                if id(root) not in memories:
                    key = _overwritten(node)
                    if key in ended:
                        ended.remove(key)
                        memories[id(root)] = memories[key]
                    else:
                        memories[id(root)] = arena.take(root.count)
                    root.settle(memories[id(root)])
                for key in ended:
                    arena.give_back(memories[key])
        for key in late & made:
            if last[key][0] == k:
                arena.give_back(memories[key])


def _overwritten(node: Node) -> int:
    """The value in whose place a node may compute its own, by its identity; 0 for none."""
    value, output = node.overwritten, node.output
    if value is None or [x.root for x in node.inputs].count(value.root) > 1:
        return 0
    is_whole = value.root is value and output.root is output
    is_alike = (value.shape, value.is_plain) == (output.shape, output.is_plain)
    return id(value) if is_whole and is_alike else 0
