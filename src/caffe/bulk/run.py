"""A run: all pictures, a row for each, whatever happens on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from ..errors import CaffeError
from .job import Job
from .manifest import read_shard, shard_numbers
from .parts import NOTHING, Count, count_part, part_numbers
from .plan import Plan, shards_of
from .stores import Store
from .workers import Workers
from .working import Done, work

FINISHED = "_SUCCESS.json"
_COUNTED_AT_ONCE = 16


@dataclass
class State:
    """How far a run has come; one record that changes.

    Attributes
    ----------
    listed : int
        Pictures known so far.
    is_listed : bool
        Whether these are all.
    before : int
        Pictures whose rows were there when this process began.
    done, errors : int
        Pictures that have gone through since, and how many of them could not be read.
    shards : int
        Shards whose rows this process has kept.
    seconds : float
        Since the first picture.
    """

    listed: int = 0
    is_listed: bool = False
    before: int = 0
    done: int = 0
    errors: int = 0
    shards: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the end, where that can be said."""
        if not self.is_listed or not self.rate:
            return None
        return max(0, self.listed - self.before - self.done) / self.rate


Watch = Callable[[State], object]
"""Shown how far a run has come, several times a second at most."""


def run(
    job: Job,
    watch: Watch = lambda state: None,
    tell: Callable[[str], object] = lambda text: None,
    workers: int = 1,
) -> Count:
    """Make a row for each picture; go on where an earlier run of the same job stopped.

    Parameters
    ----------
    job : Job
        What is to be done.
    watch, tell : callable
        Shown the state; told of folders that cannot be listed.
    workers : int
        How many processes work at once.

    Returns
    -------
    Count
        Of all pictures.

    Raises
    ------
    CaffeError
        Another run is in the place, pictures cannot be listed or reached at all, rows cannot be
        kept.
    """
    job.agree()
    plan = Plan(job, tell)
    state = State()
    counts: dict[int, Count] = {}
    watching = _Watching(plan, state, watch)
    try:
        with closing(_worked(job, plan, watching, workers)) as results:
            for done in results:
                state.shards += done.by_us
                if done.by_us:
                    counts[done.shard] = done.rows
                watching.show(always=True)
    finally:
        plan.leave()
    return finish(job.store, counts, state.seconds)


def _worked(job: Job, plan: Plan, watching: _Watching, workers: int) -> Generator[Done, None, None]:
    if workers > 1:
        with Workers(job, workers) as several:
            yield from several.work(plan.numbers(), watching.count)
        return
    numbers = plan.numbers()
    first = next(numbers, None)
    # Where nothing is left to do, the net need not be loaded.
    if first is None:
        return

    def all_numbers() -> Iterator[int]:
        yield first
        yield from numbers

    opened = job.task.open()
    watching.begin()
    yield from work(opened, job.store, shards_of(job, all_numbers()), watching.count)


class _Watching:
    """Counts, and shows the state now and then."""

    def __init__(self, plan: Plan, state: State, watch: Watch) -> None:
        self._plan, self._state, self._watch = plan, state, watch
        self._begun = self._shown = time.monotonic()

    def begin(self) -> None:
        """Count time from now on: the net is loaded."""
        self._begun = time.monotonic()

    def count(self, count: Count) -> None:
        self._state.done += count.pictures
        self._state.errors += count.errors
        self.show()

    def show(self, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self._shown > 0.2:
            self._shown = now
            state, plan = self._state, self._plan
            state.seconds = now - self._begun
            state.listed, state.is_listed, state.before = plan.listed, plan.is_listed, plan.before
            self._watch(state)


def finish(store: Store, known: dict[int, Count], seconds: float | None = None) -> Count:
    """Count all rows once all are there, and say so in the place itself.

    Parameters
    ----------
    store : Store
        The run's place.
    known : dict
        Shards that need not be counted again.
    seconds : float, optional
        What the last of its runs took.

    Raises
    ------
    CaffeError
        Rows of a shard are missing.
    """
    numbers = shard_numbers(store)
    missing = sorted(set(numbers) - part_numbers(store))
    if missing or not numbers or not read_shard(store, numbers[-1]).is_last:
        raise CaffeError(
            f"{store.place}: this run is not finished: {len(missing)} of the {len(numbers)} shards "
            "that are listed have no rows; the same command goes on with it"
        )
    with ThreadPoolExecutor(_COUNTED_AT_ONCE) as threads:
        counted = threads.map(
            lambda number: known.get(number) or count_part(store, number), numbers
        )
        total = sum(counted, NOTHING)
    facts: dict[str, float] = {
        "pictures": total.pictures,
        "errors": total.errors,
        "shards": len(numbers),
    }
    if seconds is not None:
        facts["seconds"] = round(seconds, 3)
    store.replace(FINISHED, json.dumps(facts).encode())
    return total
