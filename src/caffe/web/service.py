"""What a server has at work: places for requests, threads that read pictures, models' workers."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError
from .links import fetch_link, too_slow
from .models import Loaded, Mode, Offer, devices
from .pictures import SentPicture, read_sent_picture
from .refusals import Refusal
from .settings import Settings
from .uploads import Sent
from .worker import Row, Worker

T = TypeVar("T")
LINKS_AT_ONCE = 8
log = logging.getLogger("caffe.web")


@dataclass(frozen=True)
class PreparedPicture:
    """A picture as a net takes it."""

    picture: SentPicture
    crops: NDArray[np.float32]


class Service:
    """Everything behind the addresses of the page.

    Parameters
    ----------
    offers : sequence of Offer
        The models, the default one first.
    settings : Settings
        The bounds.
    """

    def __init__(self, offers: Sequence[Offer], settings: Settings) -> None:
        self.settings = settings
        self.offers = {offer.name: offer for offer in offers}
        self.default = offers[0].name
        self.devices = devices(settings.gpu)
        self.workers = {
            offer.name: Worker(offer, min(settings.batch, settings.queue)) for offer in offers
        }
        self.places_taken = 0
        self._seconds = 0.1
        self._readers: anyio.CapacityLimiter | None = None
        self._links: anyio.CapacityLimiter | None = None

    def load(self, name: str) -> Loaded:
        """Bring a model into memory now; raises what goes wrong."""
        return self.workers[name].run(Mode(), lambda loaded: loaded).result()

    def stop(self) -> None:
        """Refuse what waits, finish what is being done, and end the threads."""
        for worker in self.workers.values():
            worker.stop()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places; raises Refusal (503) when all are taken."""
        if self.places_taken >= self.settings.queue:
            reason = f"all {self.settings.queue} places are taken; try again in a moment"
            raise Refusal(503, "busy", reason, retry_after=min(self._seconds, 60))
        self.places_taken += 1
        start = time.monotonic()
        try:
            yield
        finally:
            # By then most of those who have a place now will have left.
            self._seconds += 0.1 * (time.monotonic() - start - self._seconds)
            self.places_taken -= 1

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

    async def content(self, sent: Sent) -> bytes:
        """A picture's bytes, fetched where a link was sent."""
        if sent.link is None:
            return sent.content
        if self._links is None:
            self._links = anyio.CapacityLimiter(LINKS_AT_ONCE)
        async with self._links:
            # The name's own server may keep the resolver waiting, which knows no limit of ours.
            with anyio.move_on_after(self.settings.link_seconds + 1):
                return await anyio.to_thread.run_sync(
                    fetch_link, sent.link, self.settings, abandon_on_cancel=True
                )
        raise too_slow(self.settings)

    async def prepare(self, worker: Worker, content: bytes) -> PreparedPicture:
        """Read a picture and do to it what the model's net wants."""
        loaded = worker.loaded
        if loaded is None:
            loaded = await self.run(worker, Mode(), lambda loaded: loaded)

        def read() -> PreparedPicture:
            picture = read_sent_picture(content, self.settings.most_pixels, loaded.color)
            crops = loaded.classifier.prepare(picture.pixels, False, picture.white)
            return PreparedPicture(picture, crops)

        if self._readers is None:
            self._readers = anyio.CapacityLimiter(min(4, os.cpu_count() or 1))
        with self._told(worker):
            return await anyio.to_thread.run_sync(read, limiter=self._readers)

    async def classify(self, worker: Worker, mode: Mode, crops: NDArray[np.float32]) -> Row:
        """A picture's probabilities."""
        return await self._answer(worker, worker.classify(mode, crops))

    async def run(self, worker: Worker, mode: Mode, task: Callable[[Loaded], T]) -> T:
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
