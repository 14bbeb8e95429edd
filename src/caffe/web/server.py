"""Running a service: the socket, the address to open, and an orderly end."""

from __future__ import annotations

import asyncio
import ctypes
import platform
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import CaffeError
from .app import create_app
from .guard import Guard
from .refusals import Refusal
from .service import Service
from .settings import Settings

SECONDS_TO_FINISH = 10
WAITING_CONNECTIONS = 2048
M_ARENA_MAX = -8


class Connection(H11Protocol):
    """A connection, which is not kept for whoever never says what they want.

    uvicorn waits without end for a request's head, so that a thousand silent connections would
    keep everybody else out for good.
    """

    def __init__(self, *arguments: Any, settings: Settings, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._settings = settings
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, which is refused where there are too many connections."""
        super().connection_made(transport)
        if len(self.connections) > self._settings.connections:
            refusal = Refusal(503, "busy", "too many are connected; try again", retry_after=5)
            self.app = Guard(refusal.response(), self._settings)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Read on; a request whose head is here has its own limits."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._end is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._end = self.loop.call_later(self._settings.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it listens."""

    def __init__(self, service: Service, listening: Callable[[], None] = lambda: None) -> None:
        config = uvicorn.Config(
            create_app(service),
            log_level="warning",
            access_log=False,
            server_header=False,
            http=partial(Connection, settings=service.settings),  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=SECONDS_TO_FINISH,
            log_config=None,
        )
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        if self.started:
            self._listening()


def share_one_heap() -> None:
    """Let the process's threads share one heap; call it before they start.

    The C library otherwise gives threads heaps of their own, and what is freed in many heaps can
    seldom be returned to the system. Only glibc is told.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises
    ------
    CaffeError
        The port is taken or not permitted, or this machine has no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CaffeError(f"--host {host}: {error.strerror or error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(WAITING_CONNECTIONS)
    except OSError as error:
        bound.close()
        raise CaffeError(
            f"cannot listen at {host}:{port}: {error.strerror}; choose another with --port"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
