"""Which learning rate to begin with: the range test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import ArgumentError, CaffeError, NetError
from ..proto.caffe_pb2 import SolverParameter
from .types import SOLVERS

MEMORY = 0.9
"""How much of the losses before stays in the smoothed loss at each step."""

DIVERGED = 4.0
"""How many times its least the smoothed loss may be before the test ends."""


@dataclass
class RateSearch:
    """What a range test found.

    Attributes
    ----------
    rates : list of float
        The rate of each step.
    losses : list of float
        The loss before the step, smoothed.
    """

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def _first(self) -> int:
        """The step from which on losses count: of few batches the mean is chance."""
        return len(self.losses) // 10

    @property
    def best(self) -> int | None:
        """The step before which the loss was least; None where it never fell."""
        if not self.losses:
            return None
        place = self._first + int(np.argmin(self.losses[self._first :]))
        falls = place > 0 and self.losses[place] < np.median(self.losses[:place])
        return place if falls else None

    @property
    def suggestion(self) -> float | None:
        """The rate at which the loss falls most for its logarithm; None where it does not fall.

        The slope is the one over the steps beside each, up to where the loss is least.
        """
        if self.best is None:
            return None
        counted = slice(self._first, self.best + 1)
        losses, logs = np.array(self.losses[counted]), np.log(self.rates[counted])
        slopes = np.gradient(losses, logs) if len(losses) > 2 else np.diff(losses, append=0)
        return self.rates[self._first + int(np.argmin(slopes))]

    def __str__(self) -> str:
        if self.suggestion is None or self.best is None:
            return "the loss falls at none of these rates: try others, or look at the data"
        return (
            f"suggested base_lr: {self.suggestion:.3g} (the loss falls most there; it is least, "
            f"{self.losses[self.best]:g}, at {self.rates[self.best]:.3g}, and rises behind it)"
        )


def search_rate(
    param: SolverParameter,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    told: Callable[[], None] = lambda: None,
) -> RateSearch:
    """Train with a rate that rises from step to step, and watch the loss (Smith, 2017).

    The rate of step i is ``lowest (highest / lowest)^(i / (steps - 1))``. The loss is smoothed,
    ``s = 0.9 s + 0.1 loss``, and divided by ``1 - 0.9^(i + 1)``. The test ends early when the loss
    is no number, or more than four times its least. Nothing is kept: the nets are made anew.

    Parameters
    ----------
    param : SolverParameter
        What the solver's text says; its rate, policy, tests and snapshots are left out.
    lowest, highest : float
        The first and the last rate.
    steps : int
        How many there are.
    told : callable
        Called after each step.

    Raises
    ------
    ArgumentError
        The range is none.
    """
    if not 0 < lowest < highest or steps < 3:
        raise ArgumentError(
            f"a range test takes rates that rise from above 0, and 3 steps or more, not "
            f"{lowest:g} to {highest:g} in {steps}"
        )
    settings = _settings(param)
    settings.base_lr = lowest
    settings.gamma = (highest / lowest) ** (1 / (steps - 1))
    if settings.type not in SOLVERS:
        raise NetError(f"unknown solver type '{settings.type}'", word=settings.type)
    solver = SOLVERS[settings.type](settings)
    found = RateSearch()
    smoothed = 0.0
    for step in range(steps):
        try:
            solver.step(1)
        except CaffeError:
            if not found.losses:
                raise
            break
        loss = solver.loss
        smoothed = MEMORY * smoothed + (1 - MEMORY) * loss
        value = smoothed / (1 - MEMORY ** (step + 1))
        if not math.isfinite(value) or value > DIVERGED * abs(min(found.losses, default=value)):
            break
        found.rates.append(float(settings.base_lr * settings.gamma**step))
        found.losses.append(value)
        told()
    return found


def _settings(param: SolverParameter) -> SolverParameter:
    """Return a solver's text with nothing in it but the training."""
    settings = SolverParameter()
    settings.CopyFrom(param)
    for name in (
        "test_net",
        "test_net_param",
        "test_state",
        "test_iter",
        "test_interval",
        "display",
        "average_loss",
        "snapshot",
        "snapshot_best",
        "snapshot_keep",
        "monitor",
        "early_stop",
        "rampup_interval",
        "warmup_iter",
        "min_lr",
    ):
        settings.ClearField(name)
    settings.lr_policy = "exp"
    return settings
