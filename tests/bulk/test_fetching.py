"""Bytes come from the web too, after a few tries; what is not there is not asked for again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from caffe.bulk.entries import Entry
from caffe.bulk.fetching import fetched, is_unreachable
from caffe.errors import CaffeError


@pytest.fixture
def address() -> Iterator[str]:
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            status = 404 if self.path == "/absent" else 503 if asked[self.path] < 2 else 200
            content = f"{self.path} {asked[self.path]}".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_pictures_of_the_web(address: str) -> None:
    names = ("a", "absent", "b")
    found = [content for _, content in fetched([Entry(f"{address}/{name}") for name in names])]
    assert found[0] == b"/a 2"
    assert found[2] == b"/b 2"
    assert isinstance(found[1], CaffeError)
    assert "404" in str(found[1])
    # The picture is not there; that says nothing of the server.
    assert not is_unreachable(found[1])
