"""Pictures on their way in: how many, how much of them there is, and who has to make room."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from .refusals import Refusal

LOOPBACK = "loopback"
NETWORK_BITS = 64
"""So much of an IPv6 address tells whose it is; who has one has all that begin alike."""


def whose(client: tuple[str, int] | None) -> str:
    """Whom a connection counts for: an IPv4 address, an IPv6 network, or this machine."""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0]) if client else None
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address is None or address.is_loopback:
        return LOOPBACK
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, NETWORK_BITS), strict=False))
    return str(address)


@dataclass(eq=False)
class Arrival:
    """A picture on its way.

    Attributes
    ----------
    address : str
        Whose it is, as `whose` tells.
    size : int
        How many of its bytes are here.
    scope : anyio.CancelScope
        In which it is waited for.
    refusal : Refusal or None
        Why it was given up.
    """

    address: str
    size: int = 0
    since: float = field(default_factory=time.monotonic)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    refusal: Refusal | None = None

    def give_up(self, refusal: Refusal) -> None:
        """Wait for it no longer."""
        self.refusal = refusal
        self.scope.cancel()


class Arrivals:
    """The pictures on their way.

    Where they are too many, or too large together, whoever has most of them loses the one that has
    been on its way longest. So one who sends slowly, or much, only keeps out themselves.

    Parameters
    ----------
    most, most_bytes : int
        The most of them at once, and of their bytes.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._under_way: list[Arrival] = []
        self._closed: Refusal | None = None

    @contextmanager
    def begin(self, address: str) -> Iterator[Arrival]:
        """Let one more come; raises Refusal where none is taken any more."""
        if self._closed is not None:
            raise self._closed
        arrival = Arrival(address)
        self._under_way.append(arrival)
        if len(self._under_way) > self._most:
            self._make_room(Counter(one.address for one in self._under_way))
        try:
            yield arrival
        finally:
            if arrival in self._under_way:
                self._under_way.remove(arrival)

    def grow(self, arrival: Arrival, size: int) -> None:
        """Count more bytes of one; some may have to make room."""
        arrival.size += size
        while sum(one.size for one in self._under_way) > self._most_bytes:
            sizes: Counter[str] = Counter()
            for one in self._under_way:
                sizes[one.address] += one.size
            self._make_room(sizes)

    def close(self, refusal: Refusal) -> None:
        """Give all up, and take none any more."""
        self._closed = refusal
        for arrival in self._under_way:
            arrival.give_up(refusal)
        self._under_way.clear()

    def _make_room(self, amounts: Counter[str]) -> None:
        greediest, _ = amounts.most_common(1)[0]
        theirs = (one for one in self._under_way if one.address == greediest)
        oldest = min(theirs, key=lambda one: one.since)
        self._under_way.remove(oldest)
        reason = "too many pictures are on their way, and this one longest; try again"
        oldest.give_up(Refusal(503, "busy", reason, retry_after=5, closes=True))
