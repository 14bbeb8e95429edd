"""Whether a convolution runs by Winograd's algorithm: tried out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ...layers.winograd import Winograd
from ...memory.allocation import returning_memory
from .. import remembered

if TYPE_CHECKING:
    from torch import Tensor

LEAST_WORK = 2**25
"""How many multiply-adds the convolution must have for trying to be worth it."""

PATIENCE, TRIALS = 2, 3
"""How many runs pass before it is tried, and how often both ways are timed."""

WORTH = 0.9
"""What share of the direct convolution's time it may take at most: its weights need more memory."""

DIRECT, WINOGRAD = "directly", "by Winograd's algorithm"

TOLERANCE = 5e-5
"""Of the largest value: by how much results may differ."""


class Trial:
    """Whether a convolution is quicker by Winograd's algorithm: found out by trying.

    Parameters
    ----------
    make : callable
        Brings the weights into the other form.
    facts : object, optional
        What settles how long both ways take; where it is given, what comes out is kept for the
        next process (`caffe.engine.remembered`).

    Attributes
    ----------
    is_over : bool
        Whether it is known.
    chosen : bool
        Whether it is quicker.
    said : str
        What came out, for people.
    """

    def __init__(self, make: Callable[[], Winograd], facts: object = None) -> None:
        self.is_over = self.chosen = self._is_unchecked = False
        self.said = ""
        self._make = make
        may_remember = facts is not None and remembered.is_on()
        self._key = remembered.key_of(["Winograd", facts]) if may_remember else ""
        finding = remembered.recall(self._key) if self._key else None
        if finding is not None:
            self.is_over, self.chosen = True, finding.chosen == WINOGRAD
            self._is_unchecked = self.chosen
            self.said = f"{_told(self.chosen, finding.seconds)}, remembered"
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
            with returning_memory():
                self._made = self._make()
        if self.is_over and not self._is_unchecked:
            return self._made(x)
        expected, seconds = _timed(direct, x)
        found, others = _timed(self._made, x)
        most = float(expected.abs().amax())
        self._is_unchecked = False
        if not float((found - expected).abs().amax()) <= TOLERANCE * most:
            self.chosen = False
            self._end("Winograd's algorithm rounds off too much")
        elif self._runs > PATIENCE + 1 and not self.is_over:
            # The first of each does more.
            self._times[0].append(seconds)
            self._times[1].append(others)
            if len(self._times[0]) == TRIALS:
                self._judge()
        return expected

    def _judge(self) -> None:
        seconds, others = map(min, self._times)
        self.chosen = others <= WORTH * seconds
        taken = {DIRECT: seconds, WINOGRAD: others}
        if self._key:
            remembered.note(self._key, WINOGRAD if self.chosen else DIRECT, taken)
        self._end(_told(self.chosen, taken))

    def _end(self, said: str) -> None:
        self.is_over, self.said = True, said
        if not self.chosen:
            self._made = None


def _told(chosen: bool, seconds: Mapping[str, float]) -> str:
    direct, others = (1000 * seconds.get(name, math.nan) for name in (DIRECT, WINOGRAD))
    way = "by Winograd's algorithm" if chosen else "not by Winograd's"
    return f"{way}: {others:.3g} ms instead of {direct:.3g}"


def _timed(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, float]:
    began = time.perf_counter()
    found = run(x)
    return found, time.perf_counter() - began
