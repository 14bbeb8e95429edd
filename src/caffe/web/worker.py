"""One thread per model: it owns the model's nets and takes what waits for it in batches."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..memory.allocation import give_back_freed_memory
from .kept import Kept
from .loaded import AnyLoaded, Loaded
from .models import Mode, Offer
from .refusals import stopping

T = TypeVar("T")
IDLE_SECONDS = 1.0
"""After so long without a request the memory of large batches is given back."""


@dataclass(frozen=True)
class Row:
    """A picture's probabilities, and how they came about.

    Attributes
    ----------
    values : numpy.ndarray
        One per class.
    waited, seconds : float
        How long the picture stood in the queue, and how long its batch took.
    batch : int
        How many pictures went through together.
    """

    values: NDArray[np.float32]
    waited: float
    seconds: float
    batch: int


@dataclass
class _Job:
    """Something to do in a mode: crops to classify, or a task."""

    mode: Mode
    future: Future[Any]
    crops: NDArray[np.float32] | None = None
    task: Callable[[AnyLoaded], Any] | None = None
    since: float = field(default_factory=time.monotonic)


class Worker:
    """The thread that owns a model.

    Parameters
    ----------
    offer : Offer
        The model; it is loaded by the thread when the first job comes.
    batch : int
        The most pictures that go through the net together.
    kept : Kept
        What is kept of the last pictures, of all models together.
    """

    def __init__(self, offer: Offer, batch: int, kept: Kept) -> None:
        self.offer = offer
        self._kept = kept
        self.loaded: AnyLoaded | None = None
        self._batch = batch
        self._tidy = self._has_forgotten = True
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def classify(self, mode: Mode, crops: NDArray[np.float32]) -> Future[Row]:
        """Queue a picture that went through the classifier's `prepare`."""
        return self._queue(_Job(mode, Future(), crops=crops))

    def run(self, mode: Mode, task: Callable[[AnyLoaded], T]) -> Future[T]:
        """Queue something to be done with the model."""
        return self._queue(_Job(mode, Future(), task=task))

    def stop(self) -> None:
        """Refuse what waits, and end the thread when it is through with what it does."""
        self.refuse()
        if self._thread is not None:
            self._thread.join()

    def refuse(self) -> None:
        """Refuse what waits and what comes; what is being done is finished."""
        with self._changed:
            self._stopping = True
            waiting, self._jobs = self._jobs, deque()
            self._changed.notify_all()
        for job in waiting:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(stopping())

    def _queue(self, job: _Job) -> Future[Any]:
        with self._changed:
            if self._stopping:
                job.future.set_exception(stopping())
                return job.future
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self.offer.name)
                self._thread.start()
            self._jobs.append(job)
            self._changed.notify_all()
        return job.future

    def _work(self) -> None:
        while (jobs := self._take()) is not None:
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if not jobs:
                continue
            try:
                if self.loaded is None:
                    self.loaded = self._load()
                jobs[0].mode.enter()
                results = self._results(self.loaded, jobs)
            except Exception as error:
                for job in jobs:
                    job.future.set_exception(error)
            else:
                for job, result in zip(jobs, results, strict=True):
                    job.future.set_result(result)
            # What a job holds must not live on until the next one comes.
            del jobs

    def _load(self) -> AnyLoaded:
        loaded = self.offer.load()
        # Asked now: a net that takes no pictures is not to be found out by the first of them.
        _ = loaded.color
        # The first run prepares the net, which the first picture is not to wait for.
        Mode().enter()
        loaded.run_once()
        return loaded

    def _take(self) -> list[_Job] | None:
        """The next job with those that can go along; None at the end."""
        with self._changed:
            while not self._jobs and not self._stopping:
                if not self._changed.wait(self._patience()):
                    self._tidy_up()
            if self._stopping:
                return None
            self._tidy = self._has_forgotten = False
            first = self._jobs[0]
            along = [first]
            if first.crops is not None:
                like = [job for job in self._jobs if job.crops is not None]
                along = [job for job in like if job.mode == first.mode][: self._batch]
                # Each new size costs the net some preparation, so there are few of them.
                del along[1 << (len(along).bit_length() - 1) :]
            taken = set(map(id, along))
            self._jobs = deque(job for job in self._jobs if id(job) not in taken)
            return along

    def _results(self, loaded: AnyLoaded, jobs: list[_Job]) -> list[Any]:
        task = jobs[0].task
        if task is not None:
            return [task(loaded)]
        assert isinstance(loaded, Loaded)
        start = time.monotonic()
        loaded.make_room(len(jobs))
        rows = loaded.classifier.predict_prepared(
            job.crops for job in jobs if job.crops is not None
        )
        rows = rows.reshape(len(jobs), -1)
        seconds = time.monotonic() - start
        return [
            Row(row.copy(), start - job.since, seconds, len(jobs))
            for row, job in zip(rows, jobs, strict=True)
        ]

    def _patience(self) -> float | None:
        """How long to wait for a job until there is something to tidy up."""
        if not self._tidy:
            return IDLE_SECONDS
        return None if self._has_forgotten else self._kept.seconds

    def _tidy_up(self) -> None:
        """Give back the memory of large batches; later, what is kept of the last pictures."""
        if self._tidy:
            self._kept.forget_old()
            if self.loaded is not None:
                self.loaded.forget()
            self._has_forgotten = True
        elif self.loaded is not None:
            self.loaded.run_once()
        self._tidy = True
        gc.collect()
        give_back_freed_memory()
