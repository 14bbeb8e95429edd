"""A connection: refused in JSON where it speaks no HTTP, and not kept for whoever is silent."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .arrivals import whose
from .guard import HEADERS, Guard
from .refusals import Refusal, stopping
from .settings import Settings

log = logging.getLogger("caffe.web.connection")
# That somebody sent rubbish is no fault of the server, and would fill its log.
log.setLevel(logging.ERROR)
LINGER_SECONDS = 2.0
"""So long a refused client may go on sending: one that is cut off reads no answer."""
SHARE_THAT_GOES = 64
"""Where there are too many connections, one of so many is closed."""
LAST_SECONDS = 1.0
"""So long a connection may still ask when the server ends."""


class Connection(H11Protocol):
    """A connection, which is not kept for whoever never says what they want.

    uvicorn waits without end for a request's head, and for a client to take its answer, so that a
    thousand silent connections would keep everybody else out for good.
    """

    def __init__(
        self,
        *arguments: Any,
        settings: Settings,
        is_stopping: Callable[[], bool] = lambda: False,
        **more: Any,
    ) -> None:
        super().__init__(*arguments, **more)
        self._settings = settings
        self._is_stopping = is_stopping
        self.logger = log
        self._refused = False
        self._unsent_since: float | None = None
        self.address = ""
        self._wait_for_head()

    @property
    def waits(self) -> bool:
        """Whether no request's head is here."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def at_work(self) -> bool:
        """Whether a request is here and the server has yet to answer it."""
        return not (self.waits or self.cycle.more_body or self.cycle.response_started)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request; where there are too many connections, another makes room."""
        super().connection_made(transport)
        self.address = whose(self.client)
        most = self._settings.connections
        if self._is_stopping():
            self.shutdown()
        elif len(self.connections) > most:
            others = (one for one in self.connections if one is not self)
            # Several at once, as it takes time to look through all.
            if not make_room(others, max(1, most // SHARE_THAT_GOES)):
                self._answer_only(Refusal(503, "busy", "too many are connected; try again", 5))

    def data_received(self, data: bytes) -> None:
        """Read on, but for what follows a refusal."""
        if not self._refused:
            super().data_received(data)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait_for_head()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, as everything is refused here, and read no more of it."""
        error = sys.exc_info()[1]
        if self.cycle is not None and not self.cycle.response_complete:
            # Whoever waits for the rest of this request is not to answer it, too.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        status = getattr(error, "error_status_hint", 400)
        self._refuse(Refusal(status, "bad_http", "this is no HTTP that can be read", closes=True))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what never became a request."""
        answer = refusal.response()
        answer.headers.update(HEADERS)
        head = h11.Response(status_code=refusal.status, headers=answer.raw_headers)
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._refused = True
        self.transport.write_eof()
        self._ends_at = time.monotonic() + LINGER_SECONDS

    def shutdown(self) -> None:
        """End when the answer is given; who has not yet asked may do so for a moment."""
        if self.waits and not self._refused:
            self._answer_only(stopping())
            self._ends_at = time.monotonic() + LAST_SECONDS
        elif not self.waits:
            self.cycle.keep_alive = False

    def look_after(self, now: float) -> None:
        """Close the connection if its time is over; called every now and then."""
        if not self.transport.get_write_buffer_size():
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent_since = now
        elif now - self._unsent_since > self._settings.sending_seconds:
            self.transport.abort()
            return
        if now <= self._ends_at or not (self.waits or self._refused):
            return
        begun = self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]
        if begun and not self._refused and not self.transport.is_closing():
            reason = f"what is wanted was not said in {self._settings.head_seconds:g} s"
            self._refuse(Refusal(408, "head_slow", reason, closes=True))
        else:
            self.transport.close()

    def _wait_for_head(self) -> None:
        self.since = time.monotonic()
        self._ends_at = self.since + self._settings.head_seconds

    def _answer_only(self, refusal: Refusal) -> None:
        refusal.closes = True
        self.app = Guard(refusal.response(), self._settings)


def make_room(connections: Iterable[Any], count: int) -> bool:
    """Close connections that are longest not at work, of whoever has most such; if there are any.

    Parameters
    ----------
    connections : iterable of Connection
        Those to choose from.
    count : int
        How many to close, if they have as many.
    """
    idle = [one for one in connections if _may_go(one)]
    if not idle:
        return False
    greediest, _ = Counter(one.address for one in idle).most_common(1)[0]
    theirs = sorted((one for one in idle if one.address == greediest), key=lambda one: one.since)
    for one in theirs[:count]:
        one.transport.abort()
    return True


def _may_go(connection: object) -> TypeGuard[Connection]:
    return (
        isinstance(connection, Connection)
        and not connection.at_work
        and not connection.transport.is_closing()
    )
