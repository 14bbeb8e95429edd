"""A sign on the terminal that something is being loaded, until there is something to read."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from . import interrupts

PATIENCE = 0.3
"""Seconds until it is shown."""
SIGN = "loading ..."
NOTHING = f"\r{' ' * len(SIGN)}\r"


class _Sign:
    """Is shown once, if the command has not written before.

    The streams are watched by their `write`, which everybody calls who prints.
    """

    def __init__(self, terminal: TextIO, streams: tuple[TextIO, ...]) -> None:
        self._terminal = terminal
        self._writes: list[tuple[TextIO, Callable[[str], int]]] = []
        self._streams = streams
        self._lock = threading.Lock()
        self._is_over = self._is_shown = False
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True

    def start(self) -> None:
        for stream in self._streams:
            write = stream.write

            def first_clear(text: str, write: Callable[[str], int] = write) -> int:
                self.end()
                return write(text)

            vars(stream)["write"] = first_clear
        self._timer.start()

    def end(self) -> None:
        """Take the sign away, and watch no more."""
        self._timer.cancel()
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            for stream in self._streams:
                vars(stream).pop("write", None)
            if self._is_shown:
                self._terminal.write(NOTHING)
                self._terminal.flush()

    def _show(self) -> None:
        with self._lock:
            if not self._is_over:
                self._is_shown = True
                type(self._terminal).write(self._terminal, SIGN)
                self._terminal.flush()

    def take_away(self) -> bytes:
        """Say what takes the sign away, for who cannot wait."""
        return NOTHING.encode() if self._is_shown and not self._is_over else b""


_signs: list[_Sign] = []


@contextmanager
def loading_sign() -> Iterator[None]:
    """Show the sign while nothing has been written, where somebody looks at a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    sign = _Sign(sys.stderr, (sys.stdout, sys.stderr))
    _signs.append(sign)
    interrupts.erasers.append(sign.take_away)
    sign.start()
    try:
        yield
    finally:
        sign.end()
        interrupts.erasers.remove(sign.take_away)
        _signs.remove(sign)


def end() -> None:
    """Take the sign away before others write than this process."""
    for sign in _signs:
        sign.end()
