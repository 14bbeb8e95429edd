"""What Ctrl-C and a hang-up do to a training."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..solver.solver import Action


class Effect(str, Enum):
    """What a signal does to a training."""

    STOP = "stop"
    SNAPSHOT = "snapshot"
    NONE = "none"


class Signals:
    """Notes signals until the solver asks for them, behind each iteration.

    A second Ctrl-C before what the first one asked for is done stops at once.

    Parameters
    ----------
    interrupt, hang_up : Effect
        What Ctrl-C (SIGINT) does, and what a hang-up (SIGHUP).

    Attributes
    ----------
    has_stopped : bool
        Whether the solver was told to stop.
    """

    def __init__(self, interrupt: Effect, hang_up: Effect) -> None:
        self.has_stopped = False
        self._waiting: Effect | None = None
        self._effects = {signal.SIGINT: interrupt}
        if hasattr(signal, "SIGHUP"):
            self._effects[signal.SIGHUP] = hang_up

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the signals that come inside."""
        before = {number: signal.signal(number, self._note) for number in self._effects}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def action(self) -> Action:
        """Return what the solver is to do; see `Solver.action`."""
        from ..solver.solver import Action

        if self._waiting is None or self.has_stopped:
            return Action.NONE
        waiting, self._waiting = self._waiting, None
        self.has_stopped = waiting is Effect.STOP
        return Action[waiting.name]

    def _note(self, number: int, frame: FrameType | None) -> None:
        effect = self._effects[signal.Signals(number)]
        if effect is Effect.NONE:
            return
        if number == signal.SIGINT and (self.has_stopped or self._waiting is not None):
            raise KeyboardInterrupt
        self._waiting = effect
