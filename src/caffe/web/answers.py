"""What each address answers."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..predictions import are_probabilities, likeliest
from ..version import __version__
from . import inside, reasons
from .arrivals import whose
from .asking import (
    PNG,
    TOP,
    Asked,
    Handler,
    PictureHandler,
    count_of,
    finite,
    milliseconds,
    one_of,
    prefers_png,
    share,
    whole,
    word,
)
from .loaded import AnyLoaded, Loaded, LoadedDetector, LoadedSegmenter, Task
from .look import Look
from .models import Mode
from .openapi import description
from .pictures import PreparedPicture, media_type
from .refusals import Refusal
from .service import Service
from .uploads import read_sent
from .worker import Worker

T = TypeVar("T")
THRESHOLD = 0.5


class Answers:
    """The answers that need the service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings

    def placed(self, handler: Handler) -> Handler:
        """Let a handler run while it has one of the places."""

        async def answer(request: Request) -> Response:
            with self._service.place(whose(request.scope["client"])):
                return await handler(request)

        return answer

    def pictured(self, handler: PictureHandler) -> Handler:
        """Let a handler run with a picture, while it has one of the places.

        The place is taken when the picture is there: who sends slowly has none.
        """

        async def answer(request: Request) -> Response:
            service, since = self._service, time.monotonic()
            worker = service.worker(word(request, "model", service.default))
            mode = service.mode(
                word(request, "device", "cpu"), word(request, "precision", "float32")
            )
            asked = Asked(worker, mode, await self._picture(request), since)
            with service.place(whose(request.scope["client"])):
                return await handler(request, asked)

        return answer

    async def _picture(self, request: Request, by_link: bool = False) -> bytes:
        sent = await read_sent(request, self._settings, self._service.arrivals)
        if by_link and sent.link is None:
            raise Refusal(400, "bad_json", 'the request must be {"link": "..."}')
        return await self._service.content(sent, whose(request.scope["client"]))

    # What there is.

    async def healthz(self, _: Request) -> Response:
        """Whether the server works, and how busy it is."""
        service = self._service
        return JSONResponse(
            {
                "status": "ok",
                "version": __version__,
                "places": self._settings.queue,
                "taken": service.places_taken,
                "loaded": [name for name, worker in service.workers.items() if worker.loaded],
            }
        )

    async def openapi(self, _: Request) -> Response:
        """The description of all this."""
        return JSONResponse(description(self._service))

    async def models(self, _: Request) -> Response:
        """The models, devices and precisions that can be chosen, and the limits."""
        service = self._service
        models = [
            {
                "name": offer.name,
                "title": offer.title,
                "loaded": service.workers[offer.name].loaded is not None,
                "task": _task(service.workers[offer.name]),
                **offer.about,
            }
            for offer in service.offers.values()
        ]
        limits = {
            "bytes": self._settings.most_bytes,
            "pixels": self._settings.most_pixels,
            "places": self._settings.queue,
        }
        return JSONResponse(
            {
                "default": service.default,
                "models": models,
                "devices": service.devices,
                "limits": limits,
            }
        )

    async def structure(self, request: Request) -> Response:
        """A net's layers."""
        worker = self._service.worker(request.path_params["model"])
        found = await self._service.run(worker, Mode(), inside.structure)
        return JSONResponse({"model": worker.offer.name, **found})

    async def labels(self, request: Request) -> Response:
        """The names of a model's classes, in order."""
        worker = self._service.worker(request.path_params["model"])
        loaded = await self._service.loaded(worker)
        return JSONResponse({"model": worker.offer.name, "labels": loaded.labels})

    async def filters(self, request: Request) -> Response:
        """A layer's filters."""
        worker = self._service.worker(request.path_params["model"])
        name = word(request, "layer")
        first, count = whole(request, "first", 0), count_of(request)
        blob = whole(request, "blob", 0)
        task = partial(inside.filters, name=name, first=first, count=count, blob=blob)
        found = await self._service.run(worker, Mode(), task)
        return JSONResponse({"model": worker.offer.name, **found})

    # What becomes of a picture.

    async def fetch(self, request: Request) -> Response:
        """The picture that a link leads to, as it is there."""
        content = await self._picture(request, by_link=True)
        kind = media_type(content, self._settings.most_pixels)
        return Response(content, media_type=kind)

    async def classify(self, request: Request, asked: Asked) -> Response:
        """A picture's most probable classes."""
        top = whole(request, "top", TOP)
        if top < 1:
            raise Refusal(400, "bad_option", "top must be at least 1")
        prepared, loaded = await self._prepared(asked, "classes")
        assert isinstance(loaded, Loaded)
        read = time.monotonic()
        row = await self._service.classify(asked.worker, asked.mode, prepared.crops)
        predictions = [
            {
                "index": i,
                "label": loaded.label(i),
                "probability": finite(row.values[i]),
            }
            for i in likeliest(row.values, top)
        ]
        answer = {
            **self._facts(asked, prepared),
            "predictions": predictions,
            "probabilities": are_probabilities(row.values),
            "milliseconds": _times(asked, read, row.waited, row.seconds),
            "batch": row.batch,
        }
        if word(request, "seen", "no") == "yes":
            answer["seen"] = inside.seen(loaded, prepared.crops)
        return JSONResponse(answer)

    async def segment(self, _: Request, asked: Asked) -> Response:
        """What each place of a picture shows."""
        prepared, loaded = await self._prepared(asked, "areas")
        assert isinstance(loaded, LoadedSegmenter)
        size = reasons.shown_size(prepared.picture)
        found, times = await self._timed(asked, lambda: loaded.segment(prepared.crops, size))
        answer = reasons.areas(prepared.picture, found)
        return JSONResponse({**self._facts(asked, prepared), **answer, "milliseconds": times})

    async def detect(self, request: Request, asked: Asked) -> Response:
        """The objects in a picture, with boxes around them."""
        threshold = share(request, "threshold", THRESHOLD)
        prepared, loaded = await self._prepared(asked, "boxes")
        assert isinstance(loaded, LoadedDetector)
        found, times = await self._timed(
            asked, lambda: loaded.find(prepared.crops, prepared.frame, threshold)
        )
        detections = [
            {"index": one.label, "label": one.name, "score": one.score, "box": list(one.box)}
            for one in found
        ]
        return JSONResponse(
            {
                **self._facts(asked, prepared),
                "threshold": threshold,
                "detections": detections,
                "milliseconds": times,
            }
        )

    async def responses(self, request: Request, asked: Asked) -> Response:
        """What a layer makes of a picture."""
        scale = one_of(request, "scale", inside.SCALES)
        task = partial(
            inside.responses,
            name=word(request, "layer"),
            first=whole(request, "first", 0),
            count=count_of(request),
            scale=scale,
        )
        return await self._looked(request, asked, task, "tiles")

    async def grad_cam(self, request: Request, asked: Asked) -> Response:
        """Where in a picture a class is seen, by Grad-CAM."""
        return await self._explained(request, asked, reasons.METHODS[0])

    async def explain(self, request: Request, asked: Asked) -> Response:
        """Where in a picture a class is seen, by one of several methods."""
        return await self._explained(request, asked, one_of(request, "by", reasons.METHODS))

    async def _explained(self, request: Request, asked: Asked, method: str) -> Response:
        task = partial(
            reasons.explain,
            method=method,
            class_index=whole(request, "class"),
            layer=word(request, "layer", "") or None,
            seconds=self._settings.answer_seconds,
        )
        return await self._looked(request, asked, task, "map")

    async def _looked(
        self, request: Request, asked: Asked, find: Callable[..., dict[str, Any]], drawn: str
    ) -> Response:
        """Answer with what was found, or only with its picture, `drawn`, if that is asked for."""
        prepared, _ = await self._prepared(asked)

        def task(loaded: AnyLoaded) -> dict[str, Any]:
            name = asked.worker.offer.name
            return find(Look(name, loaded, prepared, asked.mode, self._service.kept))

        found = await self._service.run(asked.worker, asked.mode, task)
        if not prefers_png(request):
            return JSONResponse({**self._facts(asked, prepared), **found})
        if not found.get(drawn):
            raise Refusal(406, "only_json", "of this layer there are values, and no picture")
        return Response(base64.b64decode(found[drawn].partition(",")[2]), media_type=PNG)

    async def _timed(self, asked: Asked, find: Callable[[], T]) -> tuple[T, dict[str, float]]:
        """What the model's thread finds, and how long all of it took."""
        read = time.monotonic()

        def task(_: AnyLoaded) -> tuple[T, float, float]:
            start = time.monotonic()
            return find(), start, time.monotonic() - start

        found, start, seconds = await self._service.run(asked.worker, asked.mode, task)
        return found, _times(asked, read, start - read, seconds)

    async def _prepared(
        self, asked: Asked, task: Task | None = None
    ) -> tuple[PreparedPicture, AnyLoaded]:
        """The picture as the model's net takes it, and the model, which has this task."""
        loaded = await self._service.loaded(asked.worker)
        if task is not None:
            reasons.check_task(asked.worker.offer.name, loaded.task, task)
        return await self._service.prepare(asked.worker, loaded, asked.content), loaded

    @staticmethod
    def _facts(asked: Asked, prepared: PreparedPicture) -> dict[str, Any]:
        return {
            "model": asked.worker.offer.name,
            "device": asked.mode.device,
            "precision": asked.mode.precision,
            "picture": prepared.picture.facts,
        }


def _task(worker: Worker) -> Task | None:
    """What a model does; None where it is not loaded, and may do anything."""
    return None if worker.loaded is None else worker.loaded.task


def _times(asked: Asked, read: float, waited: float, net: float) -> dict[str, float]:
    return {
        "reading": milliseconds(read - asked.since),
        "waiting": milliseconds(waited),
        "net": milliseconds(net),
        "all": milliseconds(time.monotonic() - asked.since),
    }
