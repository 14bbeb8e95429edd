"""Pictures on their way in: whose they are, and who makes room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps

import pytest

from caffe.web.arrivals import LOOPBACK, Arrival, Arrivals, whose
from caffe.web.refusals import Refusal, stopping


def test_whose_a_connection_is() -> None:
    for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "no address"):
        assert whose((address, 1)) == LOOPBACK, address
    assert whose(None) == LOOPBACK
    assert whose(("203.0.113.7", 1)) == whose(("::ffff:203.0.113.7", 2)) == "203.0.113.7"
    assert whose(("2001:db8::1", 1)) == whose(("2001:db8::ffff:2%eth0", 2))
    assert whose(("2001:db8::1", 1)) != whose(("2001:db8:0:1::1", 1))


def in_a_loop(test: Callable[[], None]) -> Callable[[], None]:
    """Run a test where scopes can be made."""

    @wraps(test)
    def run() -> None:
        async def all_of_it() -> None:
            test()

        asyncio.run(all_of_it())

    return run


def begun(arrivals: Arrivals, places: ExitStack, *addresses: str) -> list[Arrival]:
    return [places.enter_context(arrivals.begin(address)) for address in addresses]


def given_up(arrivals: list[Arrival]) -> list[int]:
    return [i for i, one in enumerate(arrivals) if one.refusal is not None]


@in_a_loop
def test_one_too_many_costs_the_greediest_its_oldest() -> None:
    arrivals = Arrivals(4, 1000)
    with ExitStack() as places:
        first = begun(arrivals, places, "a", "b", "b", "b")
        more = begun(arrivals, places, "c", "d")
        assert given_up(first + more) == [1, 2]
        assert first[1].refusal is not None
        assert (first[1].refusal.status, first[1].refusal.code) == (503, "busy")
        assert first[1].scope.cancel_called


@in_a_loop
def test_too_many_bytes_cost_whoever_sends_most() -> None:
    arrivals = Arrivals(10, 1000)
    with ExitStack() as places:
        found = begun(arrivals, places, "a", "a", "b")
        for one, size in zip(found, (300, 300, 400), strict=True):
            arrivals.grow(one, size)
        assert given_up(found) == []
        arrivals.grow(found[2], 1)
        assert given_up(found) == [0]
    with arrivals.begin("a") as alone:
        arrivals.grow(alone, 1000)
        assert alone.refusal is None
        arrivals.grow(alone, 1)
        assert alone.refusal is not None


@in_a_loop
def test_at_the_end_all_are_given_up_and_none_is_taken() -> None:
    arrivals = Arrivals(10, 1000)
    with arrivals.begin("a") as one:
        arrivals.close(stopping())
        assert one.refusal is not None
        assert one.refusal.code == "stopping"
    with pytest.raises(Refusal), arrivals.begin("b"):
        pass
