"""What the addresses of graphs and of nets that are sent answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..errors import CaffeError, MissingExtraError
from ..structure.outline import Outline, outline_of
from ..structure.placement import place
from . import nets
from .arrivals import whose
from .asking import Handler, count_of, one_of, whole, word
from .models import Mode
from .nets import ReadNet
from .refusals import Refusal
from .service import Service
from .uploads import read_files

T = TypeVar("T")
FILES = ("net", "weights")
FOLD = ("yes", "no")
LOOKS_AT_ONCE = 2
NetHandler = Callable[[Request, ReadNet], Awaitable[Response]]


class NetAnswers:
    """The answers about how nets are built, the server's own and those that are sent."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings
        self._graphs: dict[tuple[str, str], dict[str, Any]] = {}
        self._limiter: anyio.CapacityLimiter | None = None

    def sent(self, handler: NetHandler) -> Handler:
        """Let a handler run with a net that was sent, while it has one of the places."""

        async def answer(request: Request) -> Response:
            files = await read_files(request, self._settings, self._service.arrivals, FILES)
            sent = nets.net_of(files)
            with self._service.place(whose(request.scope["client"])):
                return await handler(request, await self._apart(partial(nets.read_net, sent)))

        return answer

    async def graph(self, request: Request) -> Response:
        """Where the parts of a model's diagram lie."""
        name, fold = request.path_params["model"], one_of(request, "fold", FOLD)
        worker = self._service.worker(name)
        if (name, fold) not in self._graphs:
            outline = await self._service.run(worker, Mode(), lambda it: outline_of(it.inside))
            self._graphs[name, fold] = await self._placed(outline, fold)
        return JSONResponse({"model": name, **self._graphs[name, fold]})

    async def dropped(self, _: Request, net: ReadNet) -> Response:
        """The layers of a net that was sent."""
        return JSONResponse(await self._apart(partial(nets.structure, net)))

    async def dropped_graph(self, request: Request, net: ReadNet) -> Response:
        """Where the parts of its diagram lie."""
        return JSONResponse(await self._placed(net.outline, one_of(request, "fold", FOLD)))

    async def dropped_filters(self, request: Request, net: ReadNet) -> Response:
        """A layer's parameters, from the weights that were sent with it."""
        look = partial(
            nets.filters,
            net,
            word(request, "layer"),
            whole(request, "first", 0),
            count_of(request),
            whole(request, "blob", 0),
        )
        return JSONResponse(await self._apart(look))

    async def _placed(self, outline: Outline, fold: str) -> dict[str, Any]:
        def task() -> dict[str, Any]:
            try:
                return place(outline, fold == "yes", self._settings.answer_seconds)
            except MissingExtraError as error:
                raise Refusal(501, "no_graphviz", str(error)) from error
            except CaffeError as error:
                raise Refusal(422, "no_graph", str(error)) from error

        return await self._apart(task)

    async def _apart(self, task: Callable[[], T]) -> T:
        """Run in a thread, of which there are few."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(LOOKS_AT_ONCE)
        with anyio.move_on_after(self._settings.answer_seconds):
            return await anyio.to_thread.run_sync(
                task, limiter=self._limiter, abandon_on_cancel=True
            )
        reason = f"the net took longer than {self._settings.answer_seconds:g} s"
        raise Refusal(503, "slow", reason, retry_after=10)
