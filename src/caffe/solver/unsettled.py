"""What is yet to be known of the last step: a GPU still computes it."""

from __future__ import annotations

from collections.abc import Callable


class Unsettled:
    """What is to be waited for, and done then, in order."""

    def __init__(self) -> None:
        self._waits: list[Callable[[], object]] = []

    def expect(self, value: Callable[[], float], take: Callable[[float], object]) -> None:
        """Have `take` be given what `value` waits for."""
        self._waits.append(lambda: take(value()))

    def then(self, function: Callable[[], object]) -> None:
        """Have `function` be called."""
        self._waits.append(function)

    def settle(self) -> None:
        """Wait for all of it."""
        waits = self._waits[:]
        self.forget()
        for wait in waits:
            wait()

    def forget(self) -> None:
        """Wait for none of it any more."""
        self._waits.clear()
