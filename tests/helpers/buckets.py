"""An S3 on the loopback, which may fail now and then."""

from __future__ import annotations

import logging
import random
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Faults:
    """What goes wrong between a client and the server.

    Attributes
    ----------
    share : float
        Of the requests, how many are answered by 503.
    delay : float
        Seconds that one in ten answers takes.
    left : int or None
        After so many requests more the server is down.
    asked : list of str
        Method and path of each request.
    """

    def __init__(self) -> None:
        self.share = self.delay = 0.0
        self.left: int | None = None
        self.asked: list[str] = []
        self._chance = random.Random(5)

    def around(self, app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
        """Return an application with these faults."""

        def faulty(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
            self.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            if self.left is not None:
                self.left = max(0, self.left - 1)
            if self.left == 0 or self._chance.random() < self.share:
                start("503 Slow Down", [("Content-Type", "application/xml")])
                return [b"<Error><Code>SlowDown</Code></Error>"]
            if self.delay and self._chance.random() < 0.1:
                time.sleep(self.delay)
            return app(environ, start)

        return faulty


@contextmanager
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """Serve ``s3://pictures``, and let the storage's clients of this process find it."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    pytest.importorskip("moto", reason="moto is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pytest.importorskip("moto.server", reason="moto's server is not installed")
        serving = pytest.importorskip("werkzeug.serving")
    from caffe.bulk.stores import open_store

    faults = Faults()
    app = server.DomainDispatcherApplication(server.create_backend_app)
    log = logging.getLogger("werkzeug")
    level = log.level
    log.setLevel(logging.ERROR)
    here = serving.make_server("127.0.0.1", 0, faults.around(app), threaded=True)
    thread = threading.Thread(target=here.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{here.port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    open_store.cache_clear()
    try:
        _make_bucket(address)
        yield faults
    finally:
        open_store.cache_clear()
        here.shutdown()
        here.server_close()
        thread.join()
        log.setLevel(level)


def _make_bucket(address: str) -> None:
    import requests

    key = "AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/s3/aws4_request"
    requests.post(f"{address}/moto-api/reset", timeout=20).raise_for_status()
    made = requests.put(f"{address}/pictures", headers={"Authorization": key}, timeout=20)
    made.raise_for_status()
