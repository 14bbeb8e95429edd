"""A run on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..errors import CaffeError, require
from .cluster import ShardWorker, pending
from .job import Job
from .parts import Count
from .run import State, Watch, finish

LOCAL = "local"
MOST_BLOCKS = 10_000
"""Pieces of work that Ray knows of; where there are more shards, a piece has several."""


def run_on_ray(
    job: Job,
    address: str,
    watch: Watch = lambda state: None,
    tell: Callable[[str], object] = lambda text: None,
    actors: tuple[int, int] | None = None,
    gpus: float | None = None,
) -> Count:
    """Make a row for each picture on a Ray cluster; see `run`.

    Ray only hands out shards. Its own checkpoints are not used, and what it says is done is not
    believed: at the end the files are counted.

    Parameters
    ----------
    job : Job
        The run. Its place must be one that all machines reach.
    address : str
        Ray's; "auto" for the cluster that this machine is part of, "local" for one of its own.
    watch, tell : callable
        See `run`.
    actors : (int, int), optional
        How many processes work at least and at most; one for each CPU if nothing is said, or for
        each GPU's part.
    gpus : float, optional
        Which part of a GPU each has; a whole one if the job's arithmetic names a GPU.

    Returns
    -------
    Count
        Of all pictures.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    CaffeError
        The cluster cannot be reached, or fails; what is done stays, and the next run goes on.
    """
    ray = require("ray", "ray", "a Ray cluster")
    data = require("ray.data", "ray", "a Ray cluster")
    numbers = pending(job, tell)
    if not numbers:
        return finish(job.store, {})
    begun = time.monotonic()
    state = State(is_listed=True)
    with _connected(ray, address):
        for row in _worked(ray, data, job, numbers, actors, gpus):
            state.done += row["pictures"]
            state.errors += row["errors"]
            state.shards += 1
            state.seconds = time.monotonic() - begun
            watch(state)
    return finish(job.store, {}, state.seconds)


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster, unless the program has; what Ray says of failures is told in words."""
    started = not ray.is_initialized()
    if started:
        where = {} if address == LOCAL else {"address": address}
        try:
            ray.init(log_to_driver=False, include_dashboard=False, logging_level="error", **where)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise CaffeError(f"no Ray cluster at {address}: {error}") from error
    try:
        yield
    except ray.exceptions.RayError as error:
        raise CaffeError(f"the Ray cluster failed: {_reason(error)}") from error
    finally:
        if started:
            ray.shutdown()


def _worked(
    ray: Any,
    data: Any,
    job: Job,
    numbers: list[int],
    actors: tuple[int, int] | None,
    gpus: float | None,
) -> Iterator[dict[str, int]]:
    """Let actors work on shards; yield what is said of each that is done."""
    data.DataContext.get_current().enable_progress_bars = False
    sent, share = _for_actors(job, gpus)
    shards = data.from_items(
        [{"shard": number} for number in numbers],
        override_num_blocks=min(len(numbers), MOST_BLOCKS),
    )
    worked = shards.map_batches(
        ShardWorker,
        fn_constructor_args=(sent,),
        batch_size=1,
        compute=_strategy(data, ray, actors, share),
        num_cpus=1,
        num_gpus=share or None,
    )
    yield from worked.iter_rows()


def _for_actors(job: Job, gpus: float | None) -> tuple[Job, float]:
    """The job as it is sent, and each actor's part of a GPU."""
    sent = job.packed()
    if sent.task.arithmetic.gpu is None:
        return sent, gpus or 0
    # Ray shows each actor its own GPU alone.
    arithmetic = replace(sent.task.arithmetic, gpu=0)
    return replace(sent, task=replace(sent.task, arithmetic=arithmetic)), gpus or 1


def _strategy(data: Any, ray: Any, actors: tuple[int, int] | None, share: float) -> Any:
    if actors is None:
        resources = ray.cluster_resources()
        most = resources.get("GPU", 0) / share if share else resources.get("CPU", 1)
        actors = 1, max(1, int(most))
    return data.ActorPoolStrategy(min_size=actors[0], max_size=actors[1])


def _reason(error: BaseException) -> str:
    lines = str(getattr(error, "cause", None) or error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
