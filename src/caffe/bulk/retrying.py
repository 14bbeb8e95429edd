"""Reading once more what could not be read."""

from __future__ import annotations

import time
from typing import Any

from .job import Job, read_facts
from .manifest import read_shard, shard_numbers
from .parts import Count, count_part, mended, part_name, read_part, rows_table
from .run import State, Watch, finish
from .tasks import OpenTask
from .working import rows_of


def retry_errors(job: Job, watch: Watch = lambda state: None) -> Count:
    """Read once more the pictures that could not be read; all others keep their rows.

    Parameters
    ----------
    job, watch
        See `run`.

    Returns
    -------
    Count
        Of all pictures; those that still cannot be read are its errors.

    Raises
    ------
    MissingFileError
        There is no run.
    CaffeError
        The place holds another run, or one that is not finished.
    """
    read_facts(job.store)
    job.agree()
    finish(job.store, {})
    state, counts = State(is_listed=True), {}
    task: OpenTask | None = None
    begun = time.monotonic()
    for number in shard_numbers(job.store):
        counts[number] = count = count_part(job.store, number)
        if not count.errors:
            continue
        task = task or job.task.open()
        counts[number] = _mend(job, number, task)
        state.listed += count.errors
        state.done += count.errors
        state.errors += counts[number].errors
        state.seconds = time.monotonic() - begun
        watch(state)
    return finish(job.store, counts)


def _mend(job: Job, number: int, task: OpenTask) -> Count:
    shard, part = read_shard(job.store, number), read_part(job.store, number)
    reasons: list[Any] = part["error"].to_pylist()
    ids = [
        i for i, reason in zip(part["id"].to_pylist(), reasons, strict=True) if reason is not None
    ]
    entries = [shard.entries[i - shard.first] for i in ids]
    content, count = mended(part, rows_table(ids, entries, rows_of(task, entries), task))
    job.store.replace(part_name(number), content)
    return count
