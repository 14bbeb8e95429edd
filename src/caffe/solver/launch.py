"""Starting a command several times over, so that its processes train together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..threads import shared_among

PATIENCE = 10.0
"""Seconds that the others have to end once one of them has failed."""


def is_launched() -> bool:
    """Whether ``torchrun`` or `launch` has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch(command: Sequence[str], count: int) -> int:
    """Run a command in so many processes that train together; return the exit status.

    Each finds by the environment who it is, as under ``torchrun``. Signals reach all of them; where
    one fails the others are ended.

    Parameters
    ----------
    command : sequence of str
        What to run.
    count : int
        How many of it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **shared_among(count),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(count)
    ]
    with _passing_on(processes):
        return _wait(processes)


def this_command() -> list[str]:
    """Return the command that this process runs, to be run again."""
    return [sys.executable, "-m", "caffe", *sys.argv[1:]]


@contextmanager
def _passing_on(processes: Sequence[subprocess.Popen[Any]]) -> Iterator[None]:
    def send(number: int, frame: FrameType | None) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    # Ctrl-C reaches the whole group from the terminal.
    handlers: dict[int, Any] = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: send}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = send
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(processes: Sequence[subprocess.Popen[Any]]) -> int:
    """Wait for all; where one has failed, end the others."""
    until = None
    while True:
        states = [process.poll() for process in processes]
        failed = [state for state in states if state]
        if None not in states:
            return failed[0] if failed else 0
        if failed and until is None:
            until = time.monotonic() + PATIENCE
        if until is not None and time.monotonic() > until:
            for process in processes:
                if process.poll() is None:
                    process.terminate()
            until = time.monotonic() + PATIENCE
        time.sleep(0.05)
