"""Running a service: the socket, the address to open, and an orderly end."""

from __future__ import annotations

import asyncio
import ctypes
import platform
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import ceil

import uvicorn

from ..errors import CaffeError
from .app import create_app
from .connection import Connection
from .service import Service

SECONDS_TO_FINISH = 5.0
"""For all that a net that is at work does not account for."""
SECONDS_TO_ACCEPT = 0.1
SECONDS_BETWEEN_LOOKS = 0.5
ACCEPTED_AT_ONCE = 16
"""So many connections are taken in before others are closed for them. Without a file to spare
asyncio would try without end, and the server answer nobody."""
OTHER_FILES = 128
"""Open files that are no connections, and some that are just being taken in."""
WAITING_CONNECTIONS = 2048
M_ARENA_MAX = -8
SO_ATTACH_FILTER = 26
DROP_BEGINNINGS = (
    (0x30, 0, 0, 13),
    (0x45, 0, 1, 0x02),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)
"""A filter for the system's packet machine (BPF): load byte 13 of TCP's header, its flags; if SYN
is among them, let nothing pass, else everything."""


class Server(uvicorn.Server):
    """uvicorn's server, which tells when it listens, and refuses in words when it ends."""

    def __init__(self, service: Service, listening: Callable[[], None] = lambda: None) -> None:
        connections = most_connections(service.settings.connections)
        settings = replace(service.settings, connections=connections)
        config = uvicorn.Config(
            create_app(service),
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=ACCEPTED_AT_ONCE,
            http=partial(  # type: ignore[arg-type]
                Connection, settings=settings, is_stopping=lambda: service.is_stopping
            ),
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=ceil(service.settings.answer_seconds + SECONDS_TO_FINISH),
            log_config=None,
        )
        super().__init__(config)
        self._service = service
        self._listening = listening
        self._looking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        for one in sockets or ():
            # How many the system keeps waiting is another number, for which there is no setting.
            one.listen(WAITING_CONNECTIONS)
        if self.started:
            self._looking = asyncio.create_task(self._look_after_connections())
            self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is being done, and refuse what waits, comes in, or is connected by now."""
        self._service.refuse()
        # Whom the system has connected already is to be answered, too.
        for one in sockets or ():
            refuse_newcomers(one)
        await asyncio.sleep(SECONDS_TO_ACCEPT)
        end = time.monotonic() + SECONDS_TO_FINISH
        while any(_has_waiting(one) for one in sockets or ()) and time.monotonic() < end:
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look_after_connections(self) -> None:
        while True:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look_after(now)
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


def most_connections(wanted: int) -> int:
    """How many connections the limit of open files allows, which is raised if it may be."""
    try:
        import resource
    except ImportError:  # pragma: no cover
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return max(1, soft - OTHER_FILES)
    return wanted


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


def refuse_newcomers(listening: socket.socket) -> None:
    """Have the system connect nobody else to a socket; who is connected already stays (Linux).

    A socket that is closed resets all whom the system had connected to it and who were not taken in
    yet, and between the last look at who waits and the closing there is always time for one more.
    So the packets that begin a connection are dropped first: whoever sent one sends it again after
    a second, and is told then that nobody listens, or reaches who listens there by then.
    """
    if not sys.platform.startswith("linux"):
        return
    program = b"".join(struct.pack("=HBBI", *step) for step in DROP_BEGINNINGS)
    kept = ctypes.create_string_buffer(program)
    with suppress(OSError):
        filtering = struct.pack("HP", len(DROP_BEGINNINGS), ctypes.addressof(kept))
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filtering)


def _has_waiting(listening: socket.socket) -> bool:
    """Whether somebody is connected who has not been taken in."""
    return bool(select.select([listening], [], [], 0)[0])


def address_of(bound: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    host, port = bound.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
