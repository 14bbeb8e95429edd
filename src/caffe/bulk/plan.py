"""Which shard is worked on next, while the pictures are still being listed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

from ..errors import CaffeError
from .job import Job
from .manifest import Shard, list_pictures, read_shard
from .parts import part_numbers


class Plan:
    """The shards without rows, as they come to be known; a thread lists the pictures.

    Shards are handed out in no order, so that of two who run at once each finds most of what it
    takes undone.

    Parameters
    ----------
    job : Job
        The run.
    tell : callable
        Told, in a sentence, of each folder that cannot be listed.
    """

    def __init__(self, job: Job, tell: Callable[[str], object]) -> None:
        self._job, self._tell = job, tell
        self._changed = threading.Condition()
        self._waiting: list[int] = []
        self._failure: BaseException | None = None
        self._is_over = self._is_left = False
        self.done = part_numbers(job.store)
        """The shards whose rows were there when the run began."""
        self.listed = 0
        """Pictures in all shards known so far."""
        self.shards = 0
        """How many shards those are."""
        self.before = 0
        """Pictures in the shards of `done`."""
        self._thread = threading.Thread(target=self._list, name="caffe-list", daemon=True)
        self._thread.start()

    @property
    def is_listed(self) -> bool:
        """Whether all pictures are known."""
        with self._changed:
            return self._is_over and self._failure is None

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of the shards that are to be worked on; waits for the listing.

        Raises
        ------
        CaffeError
            The pictures cannot be listed.
        """
        while True:
            with self._changed:
                while not self._waiting and not self._is_over:
                    self._changed.wait()
                if self._failure is not None:
                    raise self._failure
                if not self._waiting:
                    return
                place = random.randrange(len(self._waiting))
                self._waiting[place], self._waiting[-1] = self._waiting[-1], self._waiting[place]
                number = self._waiting.pop()
            yield number

    def leave(self) -> None:
        """List no more."""
        with self._changed:
            self._is_left = True
        self._thread.join(timeout=0.5)

    def _list(self) -> None:
        try:
            list_pictures(
                self._job.store, self._job.sources, self._job.size, self._found, self._tell
            )
        except _Left:
            pass
        except BaseException as error:
            self._failure = error
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _found(self, number: int, pictures: int) -> None:
        with self._changed:
            if self._is_left:
                raise _Left
            self.listed += pictures
            self.shards += 1
            if number in self.done:
                self.before += pictures
            else:
                self._waiting.append(number)
            self._changed.notify_all()


class _Left(CaffeError):
    """Nobody wants the listing any more."""


def shards_of(job: Job, numbers: Iterator[int]) -> Iterator[Shard]:
    """Yield the shards of some numbers, but for those that somebody else has done by now."""
    from ..errors import MissingFileError
    from .parts import part_name

    for number in numbers:
        try:
            job.store.head(part_name(number))
        except MissingFileError:
            yield read_shard(job.store, number)
