"""Who is told of a training as it goes: tables, TensorBoard, a line on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stepped:
    """A step that was done.

    Attributes
    ----------
    iteration : int
        How many were done before it; the log's number.
    loss : float
        The smoothed loss.
    rate : float
        The learning rate.
    is_shown : bool
        Whether the log tells of it (`display`).
    """

    iteration: int
    loss: float
    rate: float
    is_shown: bool


class Watcher:
    """Is told of a training; a subclass writes what it wants to know (`Solver.watchers`)."""

    def stepped(self, step: Stepped) -> None:
        """A step was done."""

    def tested(self, iteration: int, number: int, scores: Mapping[str, float]) -> None:
        """Test net `number` has given these means; of an output of several numbers the first."""

    def kept(self, iteration: int, state_file: str) -> None:
        """A snapshot was kept."""

    def close(self) -> None:
        """The training is over."""
