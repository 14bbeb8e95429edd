"""How the learning rate changes from step to step: `lr_policy`, and the rise before it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import NetError, did_you_mean
from ..logs import say
from ..proto.caffe_pb2 import SolverParameter, SolverState

Policy = Callable[[SolverParameter, int, int], float]
"""From the settings, the steps done and how often the rate has fallen to the rate."""


def _sigmoid(param: SolverParameter, iteration: int, fallen: int) -> float:
    power = -param.gamma * (iteration - param.stepsize)
    # Beyond this the exponential is no number any more.
    return param.base_lr * (1 / (1 + math.exp(min(power, 700.0))))


def _poly(param: SolverParameter, iteration: int, fallen: int) -> float:
    """min_lr + (base_lr - min_lr) (1 - iter / max_iter) ^ power."""
    left = max(1 - iteration / param.max_iter, 0.0) ** param.power
    return float((param.base_lr - param.min_lr) * left + param.min_lr)


def _along_cosine(param: SolverParameter, part: float) -> float:
    return param.min_lr + (param.base_lr - param.min_lr) * (1 + math.cos(math.pi * part)) / 2


def _cosine(param: SolverParameter, iteration: int, fallen: int) -> float:
    """min_lr + (base_lr - min_lr) (1 + cos(pi iter / max_iter)) / 2."""
    return _along_cosine(param, min(iteration / param.max_iter, 1.0))


def _sgdr(param: SolverParameter, iteration: int, fallen: int) -> float:
    """The cosine of each period anew (Loshchilov and Hutter, 2017).

    The first period has stepsize iterations, each other one mult_factor times those of the one
    before.
    """
    since, period = iteration, param.stepsize
    if param.mult_factor == 1:
        since %= period
    while since >= period:
        since, period = since - period, period * param.mult_factor
    return _along_cosine(param, since / period)


def _multifixed(param: SolverParameter, iteration: int, fallen: int) -> float:
    """The first stagelr whose stageiter has not passed; after all of them the last."""
    for rate, last in zip(param.stagelr, param.stageiter, strict=True):
        if iteration <= last:
            return rate
    return param.stagelr[-1]


def _fallen(param: SolverParameter, iteration: int, fallen: int) -> float:
    return float(param.base_lr * param.gamma**fallen)


POLICIES: dict[str, Policy] = {
    "fixed": lambda param, iteration, fallen: param.base_lr,
    "step": _fallen,
    "exp": lambda param, iteration, fallen: float(param.base_lr * param.gamma**iteration),
    "inv": lambda param, iteration, fallen: float(
        param.base_lr * (1 + param.gamma * iteration) ** -param.power
    ),
    "multistep": _fallen,
    "poly": _poly,
    "sigmoid": _sigmoid,
    "plateau": _fallen,
    "multifixed": _multifixed,
    "sgdr": _sgdr,
    "cosine": _cosine,
}


@dataclass
class Plateau:
    """Whether the loss still falls (SSD's and Intel's policy "plateau").

    Attributes
    ----------
    minimum_loss : float
        The least smoothed loss so far, as a float32.
    iter_last_event : int
        When it was found, or when the rate fell after that.
    """

    minimum_loss: float = SolverState().minimum_loss
    iter_last_event: int = 0

    def is_over(self, iteration: int, loss: float, window: int) -> bool:
        """Take in a loss; return whether there was no new minimum for so many iterations."""
        if loss < self.minimum_loss:
            # Snapshots keep a float32, and those that go on from one shall see the same.
            self.minimum_loss, self.iter_last_event = float(np.float32(loss)), iteration
        if iteration < self.iter_last_event + window:
            return False
        self.iter_last_event = iteration
        return True


class Rate:
    """The learning rate of each step.

    During the first rampup_interval or warmup_iter iterations it rises to base_lr: in NVIDIA's
    way, ``rampup_lr + (base_lr - rampup_lr) (iter / rampup_interval)^2``, or in Intel's,
    ``warmup_start_lr + (base_lr - warmup_start_lr) iter / warmup_iter``. The policy counts its
    iterations from the training's start all the same. No rate is below min_lr.

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
        How often the rate has fallen (policies "step", "multistep" and "plateau").
    plateau : Plateau
        What the policy of that name remembers.
    """

    def __init__(self, param: SolverParameter) -> None:
        self.param = param
        self.current_step = 0
        self.plateau = Plateau()
        if param.lr_policy not in POLICIES:
            hint = did_you_mean(param.lr_policy, POLICIES)
            raise NetError(
                f"unknown lr_policy '{param.lr_policy}'{hint and '; '}{hint} (known are "
                f"{', '.join(POLICIES)})",
                word=param.lr_policy or "lr_policy",
            )
        _check_numbers(param)
        _check_policy(param)

    def at(self, iteration: int, loss: float = math.inf) -> float:
        """Return the rate of the step that comes after so many.

        Parameters
        ----------
        iteration : int
            Steps done.
        loss : float
            The smoothed loss, which the policy "plateau" goes by.
        """
        param = self.param
        rate = self._rising(iteration)
        if rate is None:
            self._fall(iteration, loss)
            rate = POLICIES[param.lr_policy](param, iteration, self.current_step)
        return max(rate, param.min_lr)

    def told(self, iteration: int, loss: float, is_shown: bool) -> float:
        """Return the rate as `at` does, and tell the log when it has fallen.

        Parameters
        ----------
        iteration, loss
            See `at`.
        is_shown : bool
            Whether the log tells of this step, and so of a new minimum of the loss.
        """
        fallen, least = self.current_step, self.plateau.minimum_loss
        rate = self.at(iteration, loss)
        kind = {"multistep": "MultiStep", "plateau": "Plateau"}.get(self.param.lr_policy)
        if kind and self.current_step != fallen:
            status = f"Iteration {iteration}, step = {self.current_step}"
            say("sgd_solver.cpp:50", f"{kind} Status: {status}")
        if is_shown and self.plateau.minimum_loss != least:
            status = f"current minimum_loss = {self.plateau.minimum_loss:g}"
            say("sgd_solver.cpp:84", f"Plateau Status: Iteration {iteration}, {status}")
        return rate

    def momentum_factor(self, iteration: int) -> float:
        """Return what SGD's momentum is multiplied by while the rate rises in Intel's way.

        The history holds updates at the rate before, so that is brought to today's.
        """
        if self.param.rampup_interval > iteration or self.param.warmup_iter <= iteration:
            return 1.0
        before = self._rising(max(0, iteration - 1))
        now = self._rising(iteration)
        return now / before if before and now else 1.0

    def _rising(self, iteration: int) -> float | None:
        param = self.param
        if iteration < param.rampup_interval:
            part, start = (iteration / param.rampup_interval) ** 2, param.rampup_lr
        elif iteration < param.warmup_iter:
            part, start = iteration / param.warmup_iter, param.warmup_start_lr
        else:
            return None
        return start + (param.base_lr - start) * part

    def _fall(self, iteration: int, loss: float) -> None:
        param, fallen = self.param, self.current_step
        if param.lr_policy == "step":
            self.current_step = iteration // param.stepsize
        elif param.lr_policy == "multistep":
            # At most one at a time, as in the original.
            values = param.stepvalue
            self.current_step += fallen < len(values) and iteration >= values[fallen]
        elif param.lr_policy == "plateau":
            windows = param.plateau_winsize
            # After the last fall minima are still noted: they are shown.
            window = windows[fallen] if fallen < len(windows) else 2**31
            self.current_step += self.plateau.is_over(iteration, loss, window)


def momentum_at(param: SolverParameter, iteration: int, rate: float) -> float:
    """Return SGD's momentum by momentum_policy (NVIDIA).

    "poly": momentum + (max_momentum - momentum) (iter / max_iter)^momentum_power; "opt":
    (1 - sqrt(rate) / 2)^2, and no more than max_momentum where that is given.
    """
    if param.momentum_policy == "poly":
        part = (iteration / param.max_iter) ** param.momentum_power
        return param.momentum + (param.max_momentum - param.momentum) * float(part)
    if param.momentum_policy == "opt":
        best = (1 - 0.5 * math.sqrt(rate)) ** 2
        return min(best, param.max_momentum) if param.HasField("max_momentum") else best
    return param.momentum


def weight_decay_at(param: SolverParameter, iteration: int) -> float:
    """Return the decay by weight_decay_policy (NVIDIA).

    "poly": weight_decay + (max_weight_decay - weight_decay) (iter / max_iter)^weight_decay_power.
    """
    if param.weight_decay_policy != "poly":
        return param.weight_decay
    part = (iteration / param.max_iter) ** param.weight_decay_power
    return param.weight_decay + (param.max_weight_decay - param.weight_decay) * float(part)


def _check_numbers(param: SolverParameter) -> None:
    names = ("base_lr", "min_lr", "rampup_interval", "rampup_lr", "warmup_iter", "warmup_start_lr")
    for name in (*names, *(() if param.lr_policy == "sigmoid" else ("gamma",))):
        if getattr(param, name) < 0:
            raise NetError(
                f"{name} must not be negative, but is {getattr(param, name):g}", word=name
            )


def _check_policy(param: SolverParameter) -> None:
    """Refuse a policy that lacks what it needs."""
    policy = param.lr_policy
    for name, known in (
        ("momentum_policy", ("fixed", "poly", "opt")),
        ("weight_decay_policy", ("fixed", "poly")),
    ):
        chosen = getattr(param, name)
        if chosen not in known:
            raise NetError(f"{name} must be {', '.join(known)}, not '{chosen}'", word=name)
        if chosen == "poly" and param.max_iter < 1:
            raise NetError(f"{name} 'poly' needs max_iter above 0", word=name)
    if policy in ("step", "sgdr") and param.stepsize < 1:
        raise NetError(f"lr_policy '{policy}' needs a stepsize above 0", word="lr_policy")
    if policy in ("poly", "cosine") and param.max_iter < 1:
        raise NetError(f"lr_policy '{policy}' needs max_iter above 0", word="lr_policy")
    if policy in ("poly", "cosine", "sgdr") and param.min_lr > param.base_lr:
        raise NetError(
            f"min_lr {param.min_lr:g} must not be above base_lr {param.base_lr:g}", word="min_lr"
        )
    if policy == "sgdr" and param.mult_factor < 1:
        raise NetError(
            f"mult_factor must be at least 1, not {param.mult_factor}", word="mult_factor"
        )
    values = list(param.stepvalue)
    if policy == "multistep" and (not values or values != sorted(values) or values[0] < 0):
        raise NetError(
            f"lr_policy 'multistep' needs stepvalue in order, from 0 on, not {values}",
            word="stepvalue" if values else "lr_policy",
        )
    if policy == "plateau" and (not param.plateau_winsize or min(param.plateau_winsize) < 1):
        raise NetError(
            "lr_policy 'plateau' needs plateau_winsize, each above 0, not "
            f"{list(param.plateau_winsize)}",
            word="lr_policy",
        )
    last = list(param.stageiter)
    if policy == "multifixed" and (
        not last or len(last) != len(param.stagelr) or last != sorted(last)
    ):
        raise NetError(
            f"lr_policy 'multifixed' needs as many stagelr as stageiter, these in order, not "
            f"{len(param.stagelr)} and {last}",
            word="lr_policy",
        )
    if not all(0 <= rate < math.inf for rate in param.stagelr):
        raise NetError(
            f"stagelr must be numbers from 0 on, not {list(param.stagelr)}", word="stagelr"
        )
