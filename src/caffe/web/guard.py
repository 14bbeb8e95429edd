"""What stands before every answer: who may ask, under which name, and what browsers are told."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusals import Refusal
from .settings import Settings

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PASSED_BYTES = 64 << 20
PASSED_SECONDS = 10.0
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses requests by other sites' pages, and adds the headers of safety to all answers.

    A page of another site can point its own name at this machine and then read what a server
    answers under that name (DNS rebinding); so the server answers under names that are its own, and
    to addresses.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        own = (settings.host, "localhost", socket.gethostname(), *settings.host_names)
        self._names = {name.lower() for name in own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        body = _Body(receive)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Many clients read no answer before they have sent everything.
                closes = headers.get("connection") == "close"
                if closes or not await body.let_pass():
                    headers["Connection"] = "close"
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        answer: ASGIApp = self._app if refusal is None else refusal.response()
        await answer(scope, body.receive, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> Refusal | None:
        host = headers.get("host", "")
        name = _host_name(f"//{host}")
        if name is None or not (name in self._names or _is_address(name)):
            return Refusal(
                403,
                "wrong_name",
                "this server does not answer under this name; give it one more with --name",
            )
        if method in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        from_elsewhere = origin is not None and _place(origin) != host.lower()
        if from_elsewhere or headers.get("sec-fetch-site", "same-origin") not in (
            "same-origin",
            "none",
        ):
            return Refusal(403, "other_site", "pages of other sites cannot use this server")
        return None


class _Body:
    """A request's body on its way in, and whether its end was seen."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def receive(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    async def let_pass(self) -> bool:
        """Throw away what is still coming, within bounds; whether that was all of it."""
        passed = 0
        with anyio.move_on_after(PASSED_SECONDS):
            while not self._ended and passed < PASSED_BYTES:
                passed += len((await self.receive()).get("body", b""))
        return self._ended


def _host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
