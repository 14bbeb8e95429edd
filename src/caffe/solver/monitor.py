"""Which test was the best, and whether training still helps."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from ..errors import NetError, did_you_mean
from ..logs import say
from ..proto.caffe_pb2 import SolverParameter


class Verdict(Enum):
    """What a test was."""

    NONE = 0
    BEST = 1
    STOP = 2


MODES = ("auto", "max", "min")


class Monitor:
    """Watches one test output: `monitor`, `monitor_mode`, `snapshot_best` and `early_stop`.

    Parameters
    ----------
    param : SolverParameter
        What the solver's text says.
    outputs : mapping of str to float, or None
        The loss weights of the test nets' outputs; None where another solver tests.

    Raises
    ------
    NetError
        There is no such output, or none is named; or the mode is unknown.

    Attributes
    ----------
    best : float or None
        The best value so far.
    iteration : int
        When it was found.
    worse : int
        How many tests in a row were not better.
    """

    def __init__(self, param: SolverParameter, outputs: Mapping[str, float] | None) -> None:
        self.name = param.monitor
        self._patience = param.early_stop
        self.best: float | None = None
        self.iteration = self.worse = 0
        if outputs is None:
            return
        if param.monitor_mode not in MODES:
            raise NetError(
                f"monitor_mode must be {', '.join(MODES)}, not '{param.monitor_mode}'",
                word="monitor_mode",
            )
        if not self.name:
            needs = [n for n in ("snapshot_best", "early_stop") if getattr(param, n)]
            if needs:
                raise NetError(
                    f"{needs[0]} needs monitor, the name of a test output"
                    + (f": {', '.join(outputs)}" if outputs else ", but no net tests"),
                    word=needs[0],
                )
            return
        if self.name not in outputs:
            hint = did_you_mean(self.name, outputs)
            raise NetError(
                f"monitor: '{self.name}' is no output of a net that tests{hint and '; '}{hint}",
                word=self.name,
            )
        is_loss = outputs[self.name] != 0 or "loss" in self.name.lower()
        self.wants_less = param.monitor_mode == "min" or (param.monitor_mode == "auto" and is_loss)

    def see(self, value: float, iteration: int) -> bool:
        """Take in a test's value; return whether it is the best so far."""
        if self.best is None:
            better = value == value
        else:
            better = value < self.best if self.wants_less else value > self.best
        if better:
            self.best, self.iteration, self.worse = value, iteration, 0
        else:
            self.worse += 1
        return better

    def judge(self, value: float, iteration: int) -> Verdict:
        """Take in a test's value; tell whether it is the best, or tests are no better for long."""
        if self.see(value, iteration):
            say("solver.cpp:414", f"Best {self.name} so far: {value:g}")
            return Verdict.BEST
        if not self.is_exhausted:
            return Verdict.NONE
        best = "none" if self.best is None else f"{self.best:g}"
        say(
            "solver.cpp:414",
            f"{self.name} is no better for {self.worse} tests: its best was {best} at "
            f"iteration {self.iteration}",
        )
        return Verdict.STOP

    @property
    def is_exhausted(self) -> bool:
        """Whether `early_stop` tests in a row were not better."""
        return bool(self._patience) and self.worse >= self._patience

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes, in JSON's types."""
        return {"best": self.best, "iteration": self.iteration, "worse": self.worse}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was returned."""
        self.best = None if state["best"] is None else float(state["best"])
        self.iteration, self.worse = int(state["iteration"]), int(state["worse"])
