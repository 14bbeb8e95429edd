"""The lines of the original's log, which its users' tools read."""

from __future__ import annotations

import time


def shown_output(blob: str, value: float, weight: float) -> str:
    """Return how one of a net's outputs is told, and what it adds to the loss."""
    loss = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
    return f"{blob} = {value:g}{loss}"


def output_line(what: str, index: int, blob: str, value: float, weight: float) -> str:
    """Return the line of one of a net's outputs; `what` is "Train" or "Test"."""
    return f"    {what} net output #{index}: {shown_output(blob, value, weight)}"


class Lap:
    """The steps since the log last told of them, and how quick they were.

    Parameters
    ----------
    iteration : int
        How many had been done.
    """

    def __init__(self, iteration: int) -> None:
        self._since, self._before = time.perf_counter(), iteration

    def speed(self, iteration: int) -> str:
        """Return how quick the steps up to this one were; the next lap begins here."""
        since, before = self._since, self._before
        self._since, self._before = time.perf_counter(), iteration
        seconds = self._since - since
        return f"{(iteration - before) / (seconds or 1):g} iter/s, {seconds:g}s"
