"""How the learning rate falls from step to step: `lr_policy`."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import NetError, did_you_mean
from ..proto.caffe_pb2 import SolverParameter

Policy = Callable[[SolverParameter, int, int], float]
"""From the settings, the steps done and how often the rate has fallen to what base_lr is
multiplied by."""


def _sigmoid(param: SolverParameter, iteration: int, fallen: int) -> float:
    power = -param.gamma * (iteration - param.stepsize)
    # Beyond this the exponential is no number any more.
    return 1 / (1 + math.exp(min(power, 700.0)))


POLICIES: dict[str, Policy] = {
    "fixed": lambda param, iteration, fallen: 1.0,
    "step": lambda param, iteration, fallen: param.gamma**fallen,
    "exp": lambda param, iteration, fallen: param.gamma**iteration,
    "inv": lambda param, iteration, fallen: float((1 + param.gamma * iteration) ** -param.power),
    "multistep": lambda param, iteration, fallen: param.gamma**fallen,
    "poly": lambda param, iteration, fallen: float(
        max(1 - iteration / param.max_iter, 0.0) ** param.power
    ),
    "sigmoid": _sigmoid,
}


class Rate:
    """The learning rate of each step.

    Parameters
    ----------
    param : SolverParameter
        What the solver's text says.

    Raises
    ------
    NetError
        The policy is unknown, or lacks what it needs.

    Attributes
    ----------
    current_step : int
        How often the rate has fallen (policies "step" and "multistep").
    """

    def __init__(self, param: SolverParameter) -> None:
        self.param = param
        self.current_step = 0
        if param.lr_policy not in POLICIES:
            hint = did_you_mean(param.lr_policy, POLICIES)
            raise NetError(
                f"unknown lr_policy '{param.lr_policy}'{hint and '; '}{hint} (known are "
                f"{', '.join(POLICIES)})",
                word=param.lr_policy or "lr_policy",
            )
        if param.base_lr < 0:
            raise NetError(
                f"base_lr must not be negative, but is {param.base_lr:g}", word="base_lr"
            )
        if param.lr_policy == "step" and param.stepsize < 1:
            raise NetError("lr_policy 'step' needs a stepsize above 0", word="lr_policy")
        if param.lr_policy == "poly" and param.max_iter < 1:
            raise NetError("lr_policy 'poly' needs max_iter above 0", word="lr_policy")
        values = list(param.stepvalue)
        if param.lr_policy == "multistep" and (not values or values != sorted(values)):
            raise NetError(
                f"lr_policy 'multistep' needs stepvalue in order, not {values}", word="stepvalue"
            )
        if param.gamma < 0 and param.lr_policy != "sigmoid":
            raise NetError(f"gamma must not be negative, but is {param.gamma:g}", word="gamma")

    def at(self, iteration: int) -> float:
        """Return the rate of the step that comes after so many."""
        param = self.param
        if param.lr_policy == "step":
            self.current_step = iteration // param.stepsize
        elif param.lr_policy == "multistep":
            values = param.stepvalue
            # At most one at a time, as in the original.
            fallen = self.current_step
            self.current_step += fallen < len(values) and iteration >= values[fallen]
        return param.base_lr * POLICIES[param.lr_policy](param, iteration, self.current_step)
