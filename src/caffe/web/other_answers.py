"""What the addresses of sample pictures and of trainings answer."""

from __future__ import annotations

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import samples
from .refusals import Refusal
from .service import Service


class OtherAnswers:
    """The answers that need no model."""

    def __init__(self, service: Service) -> None:
        self._runs = service.runs
        # One at a time: two readers of one large log would only be in each other's way.
        self._reader: anyio.CapacityLimiter | None = None

    async def samples(self, _: Request) -> Response:
        """Pictures to begin with."""
        named = [{"name": name, "title": title} for name, title in samples.titles().items()]
        return JSONResponse({"samples": named})

    async def sample(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["sample"]
        if name not in samples.titles():
            raise Refusal(404, "no_sample", f"there is no picture '{name}'")
        content = await anyio.to_thread.run_sync(samples.content, name)
        headers = {"Cache-Control": "max-age=3600"}
        return Response(content, media_type="image/jpeg", headers=headers)

    async def runs(self, _: Request) -> Response:
        """The trainings that are watched."""
        found = await anyio.to_thread.run_sync(self._runs.list)
        runs = [{"name": run.name, "version": run.version} for run in found]
        return JSONResponse({"watched": self._runs.watched, "runs": runs})

    async def run(self, request: Request) -> Response:
        """How one of them went."""
        if self._reader is None:
            self._reader = anyio.CapacityLimiter(1)
        name = request.path_params["run"]
        answer = await anyio.to_thread.run_sync(self._runs.curves, name, limiter=self._reader)
        return JSONResponse(answer)
