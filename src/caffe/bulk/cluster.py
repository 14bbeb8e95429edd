"""What Ray and Spark hand out: shards by their numbers, with the same files at the end of each.

Neither needs to know more. What is done is what has a file, so that an engine that loses, repeats
or forgets a piece of work changes nothing: `finish` counts the files, and refuses where some are
missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .job import Job
from .manifest import list_pictures
from .parts import part_numbers
from .plan import shards_of
from .tasks import OpenTask
from .working import Done, work


def pending(job: Job, tell: Callable[[str], object] = lambda text: None) -> list[int]:
    """Agree on a run, list its pictures, and return the shards that have no rows yet.

    Parameters
    ----------
    job : Job
        The run.
    tell : callable
        Told, in a sentence, of each folder that cannot be listed.

    Raises
    ------
    CaffeError
        Another run is in its place, or the pictures cannot be listed.
    """
    job.agree()
    numbers: list[int] = []
    list_pictures(job.store, job.sources, job.size, lambda n, count: numbers.append(n), tell)
    done = part_numbers(job.store)
    return [number for number in numbers if number not in done]


class ShardWorker:
    """Works on shards in another process or on another machine; the net is loaded once.

    Parameters
    ----------
    job : Job
        As `Job.packed` returns it, where the machine has none of its files.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._task: OpenTask | None = None

    def work(self, numbers: Iterable[int]) -> Iterator[Done]:
        """Work on the shards of these numbers; yield each when its rows are kept."""
        if self._task is None:
            self._task = self._job.task.open()
        shards = shards_of(self._job, iter(numbers))
        yield from work(self._task, self._job.store, shards, lambda count: None)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """Work on a batch of Ray Data's, whose column "shard" has the numbers."""
        return as_columns(self.work(int(number) for number in batch["shard"]))


def as_columns(done: Iterable[Done]) -> dict[str, list[int]]:
    """Return what was done as the columns of a table."""
    columns: dict[str, list[int]] = {"shard": [], "pictures": [], "errors": []}
    for one in done:
        columns["shard"].append(one.shard)
        columns["pictures"].append(one.rows.pictures)
        columns["errors"].append(one.rows.errors)
    return columns
