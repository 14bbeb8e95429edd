"""What a server has at work: places for requests, threads that read pictures, models' workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError
from ..threads import allowed
from .arrivals import LOOPBACK, Arrivals
from .kept import Kept
from .links import fetch_link, too_slow
from .loaded import AnyLoaded
from .models import Mode, Offer, devices
from .pictures import PreparedPicture, read_sent_picture
from .refusals import Refusal, stopping
from .runs import Runs
from .settings import Settings
from .uploads import FORM_BYTES, Sent
from .worker import Row, Worker

T = TypeVar("T")
LINKS_AT_ONCE = 8
log = logging.getLogger("caffe.web")


class Shares:
    """How much each address has of something; this machine, where a proxy may be, has no limit.

    Parameters
    ----------
    each : int
        The most for one address.
    """

    def __init__(self, each: int) -> None:
        self._each = each
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How much all have together."""
        return self._taken.total()

    @contextmanager
    def one(self, address: str, what: str, retry_after: float) -> Iterator[None]:
        """Take one more; raises Refusal (503) where an address has all that it may."""
        if address != LOOPBACK and self._taken[address] >= self._each:
            reason = f"{self._each} {what} of one address are enough; try again in a moment"
            raise Refusal(503, "busy", reason, retry_after=retry_after)
        self._taken[address] += 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


class Service:
    """Everything behind the addresses of the page.

    Parameters
    ----------
    offers : sequence of Offer
        The models, the default one first.
    settings : Settings
        The bounds.
    runs : Runs, optional
        The trainings that are watched.
    """

    def __init__(
        self, offers: Sequence[Offer], settings: Settings, runs: Runs | None = None
    ) -> None:
        self.runs = Runs(()) if runs is None else runs
        self.settings = settings
        self.offers = {offer.name: offer for offer in offers}
        self.default = offers[0].name
        self.devices = devices(settings.gpu)
        self.kept = Kept(settings.kept_bytes, settings.kept_seconds)
        self.workers = {
            offer.name: Worker(offer, min(settings.batch, settings.queue), self.kept)
            for offer in offers
        }
        # Two of the largest pictures always find room.
        least = 2 * (settings.most_bytes + FORM_BYTES)
        self.arrivals = Arrivals(settings.arrivals, max(settings.arriving_bytes, least))
        self._places = Shares(settings.places_each or max(1, settings.queue // 4))
        self._link_shares = Shares(settings.links_each)
        self.is_stopping = False
        self._seconds = 0.1
        self._readers: anyio.CapacityLimiter | None = None
        self._links: anyio.CapacityLimiter | None = None

    def load(self, name: str) -> AnyLoaded:
        """Bring a model into memory now; raises what goes wrong."""
        return self.workers[name].run(Mode(), lambda loaded: loaded).result()

    def stop(self) -> None:
        """Refuse what waits, finish what is being done, and end the threads."""
        for worker in self.workers.values():
            worker.stop()

    def refuse(self) -> None:
        """Refuse what waits and what comes, in the event loop; what is being done is finished."""
        self.is_stopping = True
        self.arrivals.close(stopping())
        for worker in self.workers.values():
            worker.refuse()

    @property
    def places_taken(self) -> int:
        """How many requests are at work."""
        return self._places.taken

    @contextmanager
    def place(self, address: str) -> Iterator[None]:
        """Take one of the places; raises Refusal (503) when all are taken, or all of an address."""
        if self.is_stopping:
            raise stopping()
        if self.places_taken >= self.settings.queue:
            reason = f"all {self.settings.queue} places are taken; try again in a moment"
            raise Refusal(503, "busy", reason, retry_after=min(self._seconds, 60))
        start = time.monotonic()
        with self._places.one(address, "requests at work", min(self._seconds, 60)):
            try:
                yield
            finally:
                # By then most of those who have a place now will have left.
                self._seconds += 0.1 * (time.monotonic() - start - self._seconds)

    def mode(self, device: str, precision: str) -> Mode:
        """The mode of these names; raises Refusal (400) where it cannot be chosen."""
        for found in self.devices:
            if found["name"] != device:
                continue
            if found["reason"] is not None:
                raise Refusal(400, "no_device", found["reason"])
            for kind in found["precisions"]:
                if kind["name"] == precision:
                    if kind["reason"] is not None:
                        raise Refusal(400, "no_precision", kind["reason"])
                    return Mode(device, precision, self.settings.gpu)
            raise Refusal(400, "no_precision", f"there is no precision '{precision}'")
        raise Refusal(400, "no_device", f"there is no device '{device}'; there are cpu and gpu")

    def worker(self, name: str) -> Worker:
        """The worker of a model; raises Refusal (404) where it is not offered."""
        if name not in self.workers:
            known = ", ".join(self.workers)
            raise Refusal(404, "no_model", f"there is no model '{name}' here; there are {known}")
        return self.workers[name]

    async def content(self, sent: Sent, address: str) -> bytes:
        """A picture's bytes, fetched where a link was sent."""
        if sent.link is None:
            return sent.content
        if self._links is None:
            self._links = anyio.CapacityLimiter(LINKS_AT_ONCE)
        seconds = self.settings.link_seconds
        with self._link_shares.one(address, "links", seconds):
            with self.arrivals.begin(address) as arrival, arrival.scope:
                with anyio.move_on_after(seconds) as waiting:
                    await self._links.acquire_on_behalf_of(arrival)
                if waiting.cancelled_caught:
                    reason = "too many links are being followed; try again"
                    raise Refusal(503, "busy", reason, retry_after=seconds)
                try:
                    # The name's own server may keep the resolver waiting, which knows no limit.
                    with anyio.move_on_after(seconds + 1):
                        return await anyio.to_thread.run_sync(
                            fetch_link, sent.link, self.settings, abandon_on_cancel=True
                        )
                finally:
                    self._links.release_on_behalf_of(arrival)
            raise arrival.refusal or too_slow(self.settings)

    async def loaded(self, worker: Worker) -> AnyLoaded:
        """A worker's model, brought into memory where it is not there yet."""
        found = worker.loaded
        return await self.run(worker, Mode(), lambda loaded: loaded) if found is None else found

    async def prepare(self, worker: Worker, loaded: AnyLoaded, content: bytes) -> PreparedPicture:
        """Read a picture and do to it what the model's net wants."""

        def read() -> PreparedPicture:
            picture = read_sent_picture(content, self.settings.most_pixels, loaded.color)
            return PreparedPicture(picture, *loaded.prepare(picture.pixels, picture.white))

        if self._readers is None:
            self._readers = anyio.CapacityLimiter(min(4, allowed()))
        with self._told(worker):
            return await anyio.to_thread.run_sync(read, limiter=self._readers)

    async def classify(self, worker: Worker, mode: Mode, crops: NDArray[np.float32]) -> Row:
        """A picture's probabilities."""
        return await self._answer(worker, worker.classify(mode, crops))

    async def run(self, worker: Worker, mode: Mode, task: Callable[[AnyLoaded], T]) -> T:
        """What a task makes of a model."""
        return await self._answer(worker, worker.run(mode, task))

    async def _answer(self, worker: Worker, future: Future[T]) -> T:
        seconds = self.settings.answer_seconds
        try:
            with self._told(worker):
                return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except asyncio.TimeoutError as error:
            reason = f"the net took longer than {seconds:g} s"
            raise Refusal(503, "slow", reason, retry_after=10) from error

    @contextmanager
    def _told(self, worker: Worker) -> Iterator[None]:
        """Log what is wrong with a model, and tell that it is."""
        try:
            yield
        except Refusal:
            raise
        except CaffeError as error:
            # The text may name files of this machine, which are nobody else's business.
            log.error("%s: %s", worker.offer.name, error)
            reason = f"{worker.offer.name} cannot answer; the server's log says why"
            raise Refusal(500, "model_failed", reason) from error
