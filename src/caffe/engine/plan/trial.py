"""Whether a convolution runs by Winograd's algorithm: tried out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...layers.winograd import Winograd

if TYPE_CHECKING:
    from torch import Tensor

LEAST_WORK = 2**27
"""How many multiply-adds the convolution must have for trying to be worth it."""

PATIENCE, TRIALS = 2, 3
"""How many runs pass before it is tried, and how often both ways are timed."""

WORTH = 0.9
"""What share of the direct convolution's time it may take at most: its weights need more memory."""

TOLERANCE = 5e-5
"""Of the largest value: by how much results may differ."""


class Trial:
    """Whether a convolution is quicker by Winograd's algorithm: found out by trying.

    Parameters
    ----------
    make : callable
        Brings the weights into the other form.

    Attributes
    ----------
    is_over : bool
        Whether it is known.
    chosen : bool
        Whether it is quicker.
    said : str
        What came out, for people.
    """

    def __init__(self, make: Callable[[], Winograd]) -> None:
        self.is_over = self.chosen = False
        self.said = ""
        self._make = make
        self._made: Winograd | None = None
        self._runs = 0
        self._times: tuple[list[float], list[float]] = [], []

    def forget(self) -> None:
        """Drop the weights, which have changed."""
        self._made = None

    def run(self, x: Tensor, direct: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute by what is quicker, or by both while that is not known."""
        if self.is_over and not self.chosen:
            return direct(x)
        self._runs += 1
        if not self.is_over and self._runs <= PATIENCE:
            return direct(x)
        if self._made is None:
            self._made = self._make()
        if self.is_over:
            return self._made(x)
        expected, seconds = _timed(direct, x)
        found, others = _timed(self._made, x)
        most = float(expected.abs().amax())
        if not float((found - expected).abs().amax()) <= TOLERANCE * most:
            self._end("Winograd's algorithm rounds off too much")
        elif self._runs > PATIENCE + 1:
            # The first of each does more.
            self._times[0].append(seconds)
            self._times[1].append(others)
            if len(self._times[0]) == TRIALS:
                self._judge()
        return expected

    def _judge(self) -> None:
        seconds, others = map(min, self._times)
        self.chosen = others <= WORTH * seconds
        told = f"{1000 * others:.3g} ms instead of {1000 * seconds:.3g}"
        self._end(
            f"by Winograd's algorithm: {told}" if self.chosen else f"not by Winograd's: {told}"
        )

    def _end(self, said: str) -> None:
        self.is_over, self.said = True, said
        if not self.chosen:
            self._made = None


def _timed(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, float]:
    began = time.perf_counter()
    found = run(x)
    return found, time.perf_counter() - began
