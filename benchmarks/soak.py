"""Ask `caffe serve` 10,000 times by 8 clients, and tell what was lost and how memory grew.

    python benchmarks/soak.py [--requests 10000] [--clients 8]

Most requests are pictures to classify; among them are looks inside, damaged pictures, what is no
HTTP, and uploads that are broken off. Every answer must be complete and the right one. Memory is
what the process has resident (Linux) when nobody has asked for a moment, after the first 500
requests and after the last. At the end the server gets a SIGTERM while all clients ask: what runs
must be finished, the rest refused in words. Exit status 1 if anything was lost or wrong, or memory
grew by more than 50 MB.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WARM_UP = 500
MOST_GROWTH = 50e6
REST_SECONDS = 5
OVER = "asked after the end"
SIZES = ((451, 300), (64, 48), (1280, 960), (333, 500))
FORMS = ("JPEG", "PNG", "WEBP", "BMP")


def pictures() -> list[bytes]:
    """Pictures of several sizes and formats, the same each time."""
    random = np.random.default_rng(1)
    found = []
    for (width, height), form in zip(SIZES, FORMS, strict=True):
        coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(stream, form)
        found.append(stream.getvalue())
    return found


@dataclass
class Soak:
    """The requests, and what came of them."""

    port: int
    pictures: list[bytes]
    expected: dict[int, list[str]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request over a connection of its own, read to its end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("GET" if body is None else "POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def labels(self, number: int) -> list[str]:
        """The classes that a picture gets."""
        status, body = self.ask("/classify?top=3", self.pictures[number])
        if status != 200:
            raise ValueError(f"{status}: {body[:200]!r}")
        return [one["label"] for one in json.loads(body)["predictions"]]

    def request(self, number: int) -> None:
        """The request of this number, and whether its answer is the right one."""
        kind, picture = KINDS[number % len(KINDS)], number // len(KINDS) % len(self.pictures)
        try:
            kind(self, picture)
            self.answers[kind.__name__] += 1
        except Exception as error:
            self.wrong.append(f"request {number}, {kind.__name__}: {type(error).__name__}: {error}")


def classify(soak: Soak, picture: int) -> None:
    """A picture, whose classes are always the same."""
    found = soak.labels(picture)
    if found != soak.expected[picture]:
        raise ValueError(f"{found} is not {soak.expected[picture]}")


def responses(soak: Soak, picture: int) -> None:
    """A look inside."""
    _expect(soak.ask("/responses?layer=stem&count=8", soak.pictures[picture]), (200,), "tiles")


def structure(soak: Soak, picture: int) -> None:
    """The net's layers."""
    _expect(soak.ask("/models/efficientnet_lite0"), (200,), "layers")


def damaged(soak: Soak, picture: int) -> None:
    """Half of a picture."""
    content = soak.pictures[picture]
    _expect(soak.ask("/classify", content[: len(content) // 2]), (400, 415), "error")


def no_http(soak: Soak, picture: int) -> None:
    """What is no request."""
    with socket.create_connection(("127.0.0.1", soak.port), 60) as stream:
        stream.sendall(b"what is this\r\n\r\n")
        found = b"".join(iter(lambda: stream.recv(65536), b""))
    if not found.startswith(b"HTTP/1.1 400 ") or b'"bad_http"' not in found:
        raise ValueError(repr(found[:200]))


def broken_off(soak: Soak, picture: int) -> None:
    """An upload whose client goes away; nothing can come back."""
    with socket.create_connection(("127.0.0.1", soak.port), 60) as stream:
        stream.sendall(
            b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
        )
        stream.sendall(bytes(50_000))


KINDS: tuple[Callable[[Soak, int], None], ...] = (
    *(classify,) * 14,
    responses,
    responses,
    structure,
    damaged,
    no_http,
    broken_off,
)


def _expect(answer: tuple[int, bytes], statuses: tuple[int, ...], key: str) -> None:
    if answer[0] not in statuses or key not in json.loads(answer[1]):
        raise ValueError(f"{answer[0]}: {answer[1][:200]!r}")


def resident(process: subprocess.Popen[str]) -> float:
    """The bytes that a process has in memory."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024.0


def at_rest(process: subprocess.Popen[str]) -> float:
    """The memory when nobody has asked for a moment."""
    time.sleep(REST_SECONDS)
    return resident(process)


def run(soak: Soak, clients: int, numbers: range, after: Callable[[int], None]) -> None:
    """Make these requests, each client one at a time; `after` is told how many are done."""
    waiting, lock = iter(numbers), threading.Lock()
    done = 0

    def work() -> None:
        nonlocal done
        while True:
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            soak.request(number)
            with lock:
                done += 1
                after(done)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def end(process: subprocess.Popen[str], soak: Soak, clients: int) -> Counter[str]:
    """SIGTERM while all clients ask; what became of their requests."""
    outcomes: Counter[str] = Counter()
    ready = threading.Barrier(clients + 1)

    def work() -> None:
        ready.wait(60)
        outcome = "200"
        while outcome == "200":
            try:
                status, body = soak.ask("/classify?top=3", soak.pictures[2])
                error = json.loads(body).get("error", {}).get("code", "")
                outcome = f"{status} {error}".strip()
            except ConnectionRefusedError:
                outcome = OVER
            except (OSError, http.client.HTTPException, ValueError) as failure:
                outcome = f"lost: {failure!r}"
            outcomes[outcome] += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait(60)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    process.wait(60)
    return outcomes


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    command = [sys.executable, "-m", "caffe", "serve", "--port", "0"]
    command += ["--model", "efficientnet_lite0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = re.search(r":(\d+)/", process.stdout.readline())
            assert port, "the server did not start"
            return report(process, Soak(int(port[1]), pictures()), options)
        finally:
            if process.poll() is None:
                process.kill()


def report(process: subprocess.Popen[str], soak: Soak, options: Any) -> int:
    """Do all of it, and print the figures."""
    soak.expected = {number: soak.labels(number) for number in range(len(soak.pictures))}
    start = time.monotonic()
    highest = 0.0

    def after(done: int) -> None:
        nonlocal highest
        if done % 100 == 0:
            highest = max(highest, resident(process))
        if done % 500 == 0:
            now = resident(process) / 1e6
            print(f"{done} more, {time.monotonic() - start:.0f} s, {now:.0f} MB", flush=True)

    warm_up = min(WARM_UP, options.requests // 2)
    run(soak, options.clients, range(warm_up), after)
    before = at_rest(process)
    run(soak, options.clients, range(warm_up, options.requests), after)
    seconds = time.monotonic() - start
    growth = at_rest(process) - before
    outcomes = end(process, soak, options.clients)
    lost = len(soak.wrong) + sum(count for name, count in outcomes.items() if "lost" in name)
    strange = [name for name in outcomes if name not in ("200", "503 stopping", OVER)]
    print(f"{options.requests} requests by {options.clients} clients in {seconds:.0f} s")
    print("right answers:", dict(soak.answers))
    print(f"lost or wrong: {lost}", *soak.wrong[:10], sep="\n  " if soak.wrong else "")
    print(f"memory at rest after the first {warm_up}: {before / 1e6:.0f} MB")
    print(f"growth since: {growth / 1e6:.1f} MB, of {MOST_GROWTH / 1e6:.0f} MB allowed")
    print(f"highest while they ask: {highest / 1e6:.0f} MB")
    print("SIGTERM while all ask:", dict(outcomes))
    return 1 if lost or strange or growth > MOST_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
