"""An engine in a process of its own, which computes when it is told to, and sleeps until then."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

Turn = Callable[[float], list[float]]
"""Calls a function for so many seconds; returns how long each call took."""

_SPAWN = multiprocessing.get_context("spawn")


class Child:
    """An engine that has a process to itself, as with a user: no other's threads and memory.

    It ends when it is told to, and with the process that has started it, however that ends.

    Parameters
    ----------
    name : str
        The engine's, for what is printed when it is lost.
    prepare : callable
        Is called in the process; returns what takes its turns there, and what it answers.
    *arguments
        What `prepare` is given.
    """

    def __init__(
        self, name: str, prepare: Callable[..., tuple[Turn, Any]], *arguments: Any
    ) -> None:
        self._name = name
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_serve, args=(theirs, prepare, arguments), daemon=True
        )
        self._process.start()
        # As long as it is open here, too, nobody would see that the process has ended.
        theirs.close()

    def answer(self) -> Any:
        """Wait for what it answers; None if it is lost, and then why is printed."""
        try:
            error, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            error, answer = f"its process ended {_how(self._process.exitcode)}", None
        if error:
            print(f"  {self._name} cannot run it: {' '.join(error.split())[:200]}", flush=True)
            self.end()
        return answer

    def turn(self, seconds: float) -> list[float]:
        """Let it take its turn; return how long each call took, nothing if it is lost."""
        # Whoever is not there any more does not answer, either.
        with suppress(OSError):
            self._pipe.send(seconds)
        return self.answer() or []

    def end(self) -> None:
        """End it, and the converters that it may have started."""
        # Once: its number may be another's by the second time.
        if self._pipe.closed:
            return
        if self._process.pid is not None:
            # It may have ended, or not have come to lead a group.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _how(status: int | None) -> str:
    return f"by {signal.Signals(-status).name}" if status and status < 0 else f"with {status}"


def _serve(pipe: Connection, prepare: Callable[..., tuple[Turn, Any]], arguments: Any) -> None:
    """Answer once, and then with a turn as often as one is asked for."""
    # A group of its own: Ctrl-C is for who has started it, and ends it in its time.
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        turn, answer = prepare(*arguments)
        while True:
            pipe.send(("", answer))
            answer = turn(pipe.recv())
    except Exception as error:
        with suppress(OSError):
            pipe.send((str(error) or repr(error), None))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)
