"""The addresses of the page, and who answers at each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from .answers import Answers
from .asking import Handler
from .guard import Guard
from .net_answers import NetAnswers
from .other_answers import OtherAnswers
from .refusals import Refusal
from .service import Service

PAGE = Path(__file__).parent / "page"


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
    answers, nets, others = Answers(service), NetAnswers(service), OtherAnswers(service)
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
        Route("/models/{model}/graph", answers.placed(nets.graph)),
        Route("/nets", nets.sent(nets.dropped), methods=["POST"]),
        Route("/nets/graph", nets.sent(nets.dropped_graph), methods=["POST"]),
        Route("/nets/filters", nets.sent(nets.dropped_filters), methods=["POST"]),
        Route("/samples", others.samples),
        Route("/samples/{sample}", others.sample),
        Route("/runs", others.runs),
        Route("/runs/{run}", others.run),
        Route("/fetch", answers.fetch, methods=["POST"]),
        Route("/classify", answers.pictured(answers.classify), methods=["POST"]),
        Route("/detect", answers.pictured(answers.detect), methods=["POST"]),
        Route("/segment", answers.pictured(answers.segment), methods=["POST"]),
        Route("/responses", answers.pictured(answers.responses), methods=["POST"]),
        Route("/grad-cam", answers.pictured(answers.grad_cam), methods=["POST"]),
        Route("/explain", answers.pictured(answers.explain), methods=["POST"]),
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
