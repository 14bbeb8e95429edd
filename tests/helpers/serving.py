"""A real server of `caffe serve` on loopback, and plain HTTP to ask it with."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from PIL import Image

import caffe
from caffe.web.loaded import Loaded
from caffe.web.models import Offer, from_zoo
from caffe.web.runs import Runs
from caffe.web.server import Server, bind
from caffe.web.service import Service
from caffe.web.settings import Settings


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.json["error"]["code"])


@dataclass
class Site:
    """A server that runs."""

    service: Service
    port: int
    server: Server

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        method: str | None = None,
        **query: Any,
    ) -> Answer:
        """Send one request, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            method = method or ("GET" if body is None else "POST")
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def connect(self, sent: bytes = b"") -> socket.socket:
        """Open a connection, and send something on it."""
        stream = socket.create_connection(("127.0.0.1", self.port), 30)
        stream.sendall(sent)
        return stream

    def link(self, address: str, path: str = "/classify") -> Answer:
        """Send a link."""
        body = json.dumps({"link": address})
        return self.ask(path, body, {"Content-Type": "application/json"})


def read_answer(stream: socket.socket) -> Answer:
    """What comes back on a connection until it is closed, or the answer ends."""
    response = http.client.HTTPResponse(stream)
    response.begin()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, response.read())


def wait_until(ready: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def serving(
    offers: Sequence[Offer] | None = None, runs: Runs | None = None, **settings: Any
) -> Iterator[Site]:
    """Serve models within bounds; the default model unless others are given."""
    offers = offers or [from_zoo("efficientnet_lite0")]
    service = Service(offers, Settings(**settings), runs)
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    listening = threading.Event()
    server = Server(service, listening.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert listening.wait(20)
        yield Site(service, port, server)
    finally:
        server.should_exit = True
        thread.join(30)
        service.stop()
        bound.close()
        assert not thread.is_alive()


SMALL_NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param {
  num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
HOSTILE = "<script>alert(1)</script>"


def small_offer(folder: Path, name: str = "small", text: str = SMALL_NET) -> Offer:
    """A net that is loaded at once, with a class whose name is not nice."""
    net_file, weights = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    net_file.write_text(text)
    caffe.set_random_seed(1)
    caffe.Net(net_file, caffe.TEST).save(weights)

    def load() -> Loaded:
        classifier = caffe.Classifier(net_file, weights, raw_scale=255, channel_swap=(2, 1, 0))
        return Loaded(classifier, [HOSTILE, "<b>bold</b>", "plain"])

    return Offer(name, f"Small {HOSTILE}", load)


def picture(width: int = 40, height: int = 30, form: str = "PNG", **options: Any) -> bytes:
    """A small picture with something in it."""
    stream = io.BytesIO()
    pixels = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    pixels.save(stream, form, **options)
    return stream.getvalue()


class Elsewhere(BaseHTTPRequestHandler):
    """A server that links lead to: its paths say what it does."""

    protocol_version = "HTTP/1.1"
    content = b""
    asked: list[tuple[str, str]]
    onward = ""

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        if self.path.startswith("/to/"):
            self.reply(302, b"", Location=self.onward + self.path[3:])
        elif self.path == "/to-nothing":
            self.reply(302, b"", Location="http://[")
        elif self.path == "/empty":
            self.reply(200, b"")
        elif self.path.startswith("/around/"):
            self.reply(302, b"", Location=self.path + "x")
        elif self.path == "/large":
            self.reply(200, bytes(200_000))
        elif self.path == "/endless":
            self.endless(b"x" * 4096, 0.0)
        elif self.path == "/drip":
            self.endless(b"x", 0.05)
        elif self.path == "/drip-head":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            self.endless(b"X-A: b\r\n", 0.05, head=False)
        elif self.path == "/silent":
            time.sleep(3)
        elif self.path == "/packed":
            self.reply(200, self.content, **{"Content-Encoding": "gzip"})
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"too few")
            self.close_connection = True
        elif self.path.startswith("/cat"):
            self.reply(200, self.content)
        else:
            self.reply(404, b"nothing here")

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self, piece: bytes, pause: float, head: bool = True) -> None:
        self.close_connection = True
        if head:
            self.send_response(200)
            self.end_headers()
        end = time.monotonic() + 10
        try:
            while time.monotonic() < end:
                self.wfile.write(piece)
                time.sleep(pause)
        except OSError:
            return

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def elsewhere(content: bytes = b"", onward: str = "") -> Iterator[tuple[str, list[Any]]]:
    """A server for links: its "127.0.0.1:port", and what it was asked."""
    asked: list[Any] = []
    handler = type("Here", (Elsewhere,), {"content": content, "onward": onward, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
