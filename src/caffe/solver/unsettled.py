"""What is yet to be known of the last step: a GPU still computes it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Unsettled:
    """What is to be waited for, and done then, in order."""

    def __init__(self) -> None:
        self._waits: list[Callable[[], object]] = []
        self._thread = 0

    def expect(self, value: Callable[[], float], take: Callable[[float], object]) -> None:
        """Have `take` be given what `value` waits for."""
        self.then(lambda: take(value()))

    def then(self, function: Callable[[], object]) -> None:
        """Have `function` be called."""
        self._waits.append(function)
        self._thread = threading.get_ident()

    def settle(self) -> None:
        """Wait for all of it; whoever looks on from another thread waits for nothing."""
        if threading.get_ident() != self._thread:
            return
        waits = self._waits[:]
        self.forget()
        for wait in waits:
            wait()

    def forget(self) -> None:
        """Wait for none of it any more."""
        self._waits.clear()
