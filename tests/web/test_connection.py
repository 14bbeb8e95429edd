"""Connections: who is silent, who sends no HTTP, who takes no answer, and the server's end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from caffe.web.models import Mode
from caffe.web.worker import Worker
from tests.helpers.serving import (
    Site,
    picture,
    read_answer,
    serving,
    small_offer,
    wait_until,
)

HEAD = b"POST /classify HTTP/1.1\r\nHost: localhost\r\n"
ASKS = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW = HEAD + b"Content-Length: 99999\r\n\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving([small_offer(tmp_path_factory.mktemp("net"))]) as site:
        yield site


def is_closed(stream: socket.socket) -> bool:
    """Whether the server has closed a connection, without having said anything."""
    try:
        return stream.recv(4096) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: local", SLOW], ids=len)
def test_silent_connections_make_room_for_newcomers(tmp_path: Path, sent: bytes) -> None:
    with serving([small_offer(tmp_path)], connections=4) as site:
        silent = [site.connect(sent) for _ in range(4)]
        wait_until(lambda: len(site.server.server_state.connections) == 4)
        start = time.monotonic()
        answers = [site.ask("/classify", picture()).status for _ in range(3)]
        assert answers == [200] * 3
        assert time.monotonic() - start < 5
        # The oldest of them went, and not more than were in the way.
        assert is_closed(silent[0])
        silent[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)
        for stream in silent:
            stream.close()


def test_where_all_are_at_work_a_newcomer_is_asked_to_come_back(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], connections=2) as site:
        site.ask("/classify", picture())
        hold = threading.Event()
        site.service.worker("small").run(Mode(), lambda _: hold.wait(20))
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(site.ask, "/classify", picture()) for _ in range(2)]
            wait_until(lambda: site.service.places_taken == 2)
            full = site.ask("/healthz")
            hold.set()
            assert [one.result().status for one in asked] == [200, 200]
    assert (full.status, full.code) == (503, "busy")
    assert int(full.headers["retry-after"]) >= 1


def test_who_never_says_what_they_want_is_closed_after_a_while(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], head_seconds=1.0) as site:
        silent = [site.connect() for _ in range(2)]
        silent[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
        # One that asked before is no less silent the second time.
        silent[1].sendall(ASKS)
        assert read_answer(silent[1]).status == 200
        # Who has begun is told; who has said nothing would take it for an answer to what comes.
        answer = read_answer(silent[0])
        assert (answer.status, answer.code) == (408, "head_slow")
        assert all(is_closed(stream) for stream in silent)
        for stream in silent:
            stream.close()


def test_a_byte_now_and_then_does_not_prolong_an_upload(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], upload_seconds=1.0) as site:
        stream = site.connect(SLOW)
        start = time.monotonic()
        stream.settimeout(0.1)
        while time.monotonic() - start < 10:
            try:
                first = stream.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                stream.sendall(b"a")
        assert first == b"H"
        assert 0.9 < time.monotonic() - start < 4
        stream.settimeout(20)
        answer = read_answer(stream)
        assert (answer.status, answer.code) == (408, "upload_slow")
        assert answer.headers["connection"] == "close"
        stream.close()


def test_slow_uploads_have_no_place(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], queue=2) as site:
        slow = [site.connect(SLOW) for _ in range(6)]
        for stream in slow:
            stream.sendall(b"a")
        assert [site.ask("/classify", picture()).status for _ in range(4)] == [200] * 4
        assert site.ask("/healthz").json["taken"] == 0
        for stream in slow:
            stream.close()


def test_too_many_uploads_cost_the_greediest_its_oldest(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], arrivals=3) as site:
        slow = [site.connect(SLOW + b"a") for _ in range(3)]
        wait_until(lambda: len(site.service.arrivals._under_way) == 3)
        assert site.ask("/classify", picture()).status == 200
        answer = read_answer(slow[0])
        assert (answer.status, answer.code) == (503, "busy")
        for stream in slow:
            stream.close()


# What is no HTTP.


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40) + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \x00\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot a number\r\n", 400),
        (b"GET /" + b"a" * 200_000, 431),
        (HEAD + b"A: " + b"a" * 200_000, 431),
    ],
    ids=range(12),
)
def test_what_is_no_http_is_refused_in_json(site: Site, sent: bytes, status: int) -> None:
    stream = site.connect(sent)
    answer = read_answer(stream)
    assert (answer.status, answer.code) == (status, "bad_http")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/json"
    # And then the connection ends.
    assert stream.recv(4096) == b""
    stream.close()
    assert site.ask("/healthz").json["taken"] == 0


def test_what_is_no_http_after_a_good_request(site: Site) -> None:
    stream = site.connect(ASKS)
    assert read_answer(stream).status == 200
    stream.sendall(b"rubbish\r\n\r\n")
    assert read_answer(stream).code == "bad_http"
    stream.close()


def ask_without_end(stream: socket.socket) -> None:
    asked = b"GET /page/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    while True:
        stream.sendall(asked)


def test_an_answer_that_nobody_takes_is_given_up(tmp_path: Path) -> None:
    with serving([small_offer(tmp_path)], sending_seconds=0.5) as site:
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stream.connect(("127.0.0.1", site.port))
        # So often that no buffer of the system holds all the answers.
        stream.settimeout(10)
        with pytest.raises(ConnectionError):
            ask_without_end(stream)
        stream.close()
        wait_until(lambda: not site.server.server_state.connections)


# The end.


def test_the_end_finishes_what_runs_and_answers_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, finish = threading.Event(), threading.Event()
    results = Worker._results

    def slowly(*arguments: Any) -> Any:
        running.set()
        assert finish.wait(20)
        return results(*arguments)

    with serving([small_offer(tmp_path)], batch=1) as site, ThreadPoolExecutor(4) as pool:
        site.ask("/classify", picture())
        monkeypatch.setattr(Worker, "_results", slowly)
        works = pool.submit(site.ask, "/classify", picture())
        assert running.wait(20)
        waits = pool.submit(site.ask, "/classify", picture())
        wait_until(lambda: site.service.places_taken == 2)
        uploads, silent = site.connect(HEAD + b"Content-Length: 4\r\n\r\nab"), site.connect()
        wait_until(lambda: len(site.server.server_state.connections) == 4)
        site.server.should_exit = True
        wait_until(lambda: not any(one.is_serving() for one in site.server.servers))
        uploads.sendall(b"cd")
        silent.sendall(ASKS)
        for answer in (waits.result(), read_answer(uploads), read_answer(silent)):
            assert (answer.status, answer.code) == (503, "stopping")
            assert "retry-after" in answer.headers
        finish.set()
        assert works.result().status == 200
        for stream in (uploads, silent):
            stream.close()
