"""The addresses of the page, and what each answers."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ..predictions import are_probabilities, likeliest
from ..version import __version__
from . import inside
from .arrivals import whose
from .guard import Guard
from .models import Loaded, Mode
from .openapi import description
from .pictures import media_type
from .refusals import Refusal
from .service import PreparedPicture, Service
from .uploads import read_sent
from .worker import Worker

PAGE = Path(__file__).parent / "page"
MOST_MAPS = 256
TOP, MAPS = 5, 36
PNG = "image/png"
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Asked:
    """A picture that is there, and what is to look at it."""

    worker: Worker
    mode: Mode
    content: bytes
    since: float = field(default_factory=time.monotonic)


PictureHandler = Callable[[Request, Asked], Awaitable[Response]]


def create_app(service: Service) -> ASGIApp:
    """Return the application that answers for a service; its end stops the service."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        service.stop()

    app = Starlette(
        routes=routes(service),
        lifespan=lifespan,
        exception_handlers={Refusal: _refused, HTTPException: _not_found, Exception: _failed},
    )
    # Around all of it: the answers to failures are to have the headers too.
    return Guard(app, service.settings)


def routes(service: Service) -> list[BaseRoute]:
    """The addresses, and who answers for each."""
    answers = Answers(service)
    return [
        Route("/", _page("index.html")),
        Route("/docs", _page("docs.html")),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/healthz", answers.healthz),
        Route("/openapi.json", answers.openapi),
        Route("/models", answers.models),
        Route("/models/{model}", answers.placed(answers.structure)),
        Route("/models/{model}/labels", answers.placed(answers.labels)),
        Route("/models/{model}/filters", answers.placed(answers.filters)),
        Route("/fetch", answers.fetch, methods=["POST"]),
        Route("/classify", answers.pictured(answers.classify), methods=["POST"]),
        Route("/responses", answers.pictured(answers.responses), methods=["POST"]),
        Route("/grad-cam", answers.pictured(answers.grad_cam), methods=["POST"]),
    ]


def _page(name: str) -> Handler:
    async def page(_: Request) -> Response:
        return FileResponse(PAGE / name, headers={"Cache-Control": "no-cache"})

    return page


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _not_found(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "refused")
    response = Refusal(error.status_code, code, error.detail).response()
    response.headers.update(error.headers or {})
    return response


async def _failed(_: Request, error: Exception) -> Response:
    reason = "something went wrong in the server; its log says what"
    return Refusal(500, "failed", reason).response()


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
            worker = service.worker(_word(request, "model", service.default))
            mode = service.mode(
                _word(request, "device", "cpu"), _word(request, "precision", "float32")
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
        loaded = await self._service.run(worker, Mode(), lambda loaded: loaded)
        return JSONResponse({"model": worker.offer.name, "labels": loaded.labels})

    async def filters(self, request: Request) -> Response:
        """A layer's filters."""
        worker = self._service.worker(request.path_params["model"])
        name = _word(request, "layer")
        first, count = _whole(request, "first", 0), _count(request)
        task = partial(inside.filters, name=name, first=first, count=count)
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
        top = _whole(request, "top", TOP)
        if top < 1:
            raise Refusal(400, "bad_option", "top must be at least 1")
        worker, prepared = asked.worker, await self._prepared(asked)
        read = time.monotonic()
        row = await self._service.classify(worker, asked.mode, prepared.crops)
        assert worker.loaded is not None
        predictions = [
            {
                "index": i,
                "label": worker.loaded.label(i),
                "probability": _finite(row.values[i]),
            }
            for i in likeliest(row.values, top)
        ]
        times = {
            "reading": _milliseconds(read - asked.since),
            "waiting": _milliseconds(row.waited),
            "net": _milliseconds(row.seconds),
            "all": _milliseconds(time.monotonic() - asked.since),
        }
        answer = {
            **self._facts(asked, prepared),
            "predictions": predictions,
            "probabilities": are_probabilities(row.values),
            "milliseconds": times,
            "batch": row.batch,
        }
        if _word(request, "seen", "no") == "yes":
            answer["seen"] = inside.seen(worker.loaded, prepared.crops)
        return JSONResponse(answer)

    async def responses(self, request: Request, asked: Asked) -> Response:
        """What a layer makes of a picture."""
        scale = _word(request, "scale", inside.SCALES[0])
        if scale not in inside.SCALES:
            raise Refusal(400, "bad_option", f"scale must be {' or '.join(inside.SCALES)}")
        look = partial(
            inside.responses,
            name=_word(request, "layer"),
            first=_whole(request, "first", 0),
            count=_count(request),
            scale=scale,
        )
        return await self._looked(request, asked, look, "tiles")

    async def grad_cam(self, request: Request, asked: Asked) -> Response:
        """Where in a picture a class is seen."""
        index, name = _whole(request, "class"), _word(request, "layer", "") or None
        look = partial(inside.grad_cam, class_index=index, name=name)
        return await self._looked(request, asked, look, "map")

    async def _looked(
        self, request: Request, asked: Asked, look: Callable[..., dict[str, Any]], drawn: str
    ) -> Response:
        """Answer with what was found, or only with its picture, `drawn`, if that is asked for."""
        prepared = await self._prepared(asked)

        def task(loaded: Loaded) -> dict[str, Any]:
            return look(loaded, prepared.crops)

        found = await self._service.run(asked.worker, asked.mode, task)
        if not _prefers_png(request):
            return JSONResponse({**self._facts(asked, prepared), **found})
        if not found.get(drawn):
            raise Refusal(406, "only_json", "of this layer there are values, and no picture")
        return Response(base64.b64decode(found[drawn].partition(",")[2]), media_type=PNG)

    async def _prepared(self, asked: Asked) -> PreparedPicture:
        return await self._service.prepare(asked.worker, asked.content)

    @staticmethod
    def _facts(asked: Asked, prepared: PreparedPicture) -> dict[str, Any]:
        return {
            "model": asked.worker.offer.name,
            "device": asked.mode.device,
            "precision": asked.mode.precision,
            "picture": prepared.picture.facts,
        }


def _word(request: Request, name: str, default: str | None = None) -> str:
    value = request.query_params.get(name, default)
    if value is None:
        raise Refusal(400, "bad_option", f"'{name}' is missing")
    return value


def _whole(request: Request, name: str, default: int | None = None) -> int:
    text = _word(request, name, None if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refusal(400, "bad_option", f"'{name}' must be a whole number")
    return int(text)


def _count(request: Request) -> int:
    count = _whole(request, "count", MAPS)
    if not 1 <= count <= MOST_MAPS:
        raise Refusal(400, "bad_option", f"'count' must be 1 to {MOST_MAPS}")
    return count


def _prefers_png(request: Request) -> bool:
    """Whether a client's Accept names PNG, and not JSON before it."""
    weights = {PNG: 0.0, "image/*": 0.0, "application/json": 0.0}
    for kind in ",".join(request.headers.getlist("accept")).split(","):
        name, _, weight = kind.replace(" ", "").partition(";q=")
        try:
            weights[name.lower()] = float(weight or 1)
        except ValueError:
            continue
    return (weights[PNG] or weights["image/*"]) > weights["application/json"]


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
