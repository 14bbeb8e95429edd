"""How gradients and their history become what is taken from the parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ..errors import NetError
from ..proto.caffe_pb2 import SolverParameter
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

    Arrays = list[Tensor]


def are_squares(what: str) -> bool:
    """Tell whether what a rule remembers is made of squares, which are never negative."""
    return "square" in what


class Method:
    """A rule that turns a gradient into an update.

    Parameters
    ----------
    param : SolverParameter
        What the solver's text says.

    Attributes
    ----------
    remembers : tuple of str
        What the arrays of a parameter's shape are that the rule remembers.
    decoupled : bool
        Whether weight decay is taken from the parameter beside the rule, instead of being added
        to the gradient.
    momentum : float
        The momentum of the next update.
    """

    remembers: ClassVar[tuple[str, ...]] = ("steps",)
    remembers_by_rate: ClassVar[bool] = False
    """At a rate of zero what is remembered stays zero."""

    decoupled_by_itself: ClassVar[bool] = False
    takes_momentum: ClassVar[bool] = True

    def __init__(self, param: SolverParameter) -> None:
        self.momentum = param.momentum
        self.delta = param.delta
        self.decoupled = param.decoupled_weight_decay or self.decoupled_by_itself
        if not self.takes_momentum and param.momentum:
            raise NetError(
                f"momentum cannot be used with {param.type}: take out momentum: {param.momentum:g}",
                word="momentum",
            )

    def update(
        self, diffs: Arrays, history: Sequence[Arrays], rates: Sequence[float], step: int
    ) -> None:
        """Write the updates over the gradients, and bring the history forward, both in place.

        Parameters
        ----------
        diffs : sequence of Tensor
            The parameters' gradients g; afterwards what is to be taken from the parameters.
        history : sequence of sequences of Tensor
            For each of `remembers` the arrays of these parameters' shapes; zeros before the first
            step.
        rates : sequence of float
            The learning rate, times each parameter's lr_mult.
        step : int
            Which step this is, the first being 1.
        """
        raise NotImplementedError


class SGD(Method):
    """h = momentum h + rate g; w -= h."""

    remembers_by_rate = True

    def update(
        self, diffs: Arrays, history: Sequence[Arrays], rates: Sequence[float], step: int
    ) -> None:
        (h,) = history
        torch._foreach_mul_(h, self.momentum)
        torch._foreach_add_(h, torch._foreach_mul(diffs, rates))
        torch._foreach_copy_(diffs, h)


class Nesterov(Method):
    """h' = momentum h + rate g; w -= (1 + momentum) h' - momentum h (Sutskever et al., 2013)."""

    remembers_by_rate = True

    def update(
        self, diffs: Arrays, history: Sequence[Arrays], rates: Sequence[float], step: int
    ) -> None:
        (h,) = history
        torch._foreach_mul_(diffs, rates)
        torch._foreach_mul_(h, self.momentum)
        torch._foreach_add_(h, diffs)
        # (1 + momentum) h' - momentum h, as momentum h is h' without what was just added.
        torch._foreach_add_(diffs, h, alpha=self.momentum)


class AdaGrad(Method):
    """h += g^2; w -= rate g / (sqrt(h) + delta) (Duchi et al., 2011)."""

    remembers = ("sums of squares",)

    takes_momentum = False

    def update(
        self, diffs: Arrays, history: Sequence[Arrays], rates: Sequence[float], step: int
    ) -> None:
        (h,) = history
        torch._foreach_addcmul_(h, diffs, diffs)
        _divide_by_root(diffs, h, self.delta)
        torch._foreach_mul_(diffs, rates)


class RMSProp(Method):
    """h = decay h + (1 - decay) g^2; w -= rate g / (sqrt(h) + delta) (Tieleman, Hinton, 2012)."""

    remembers = ("means of squares",)

    takes_momentum = False

    def __init__(self, param: SolverParameter) -> None:
        super().__init__(param)
        self.decay = param.rms_decay
        if not 0 <= self.decay < 1:
            raise NetError(f"rms_decay must be in [0, 1), not {self.decay:g}", word="rms_decay")

    def update(
        self, diffs: Arrays, history: Sequence[Arrays], rates: Sequence[float], step: int
    ) -> None:
        (h,) = history
        _follow_squares(h, diffs, self.decay)
        _divide_by_root(diffs, h, self.delta)
        torch._foreach_mul_(diffs, rates)


class AdaDelta(Method):
    """With m the momentum: h = m h + (1 - m) g^2; u = g sqrt((k + delta) / (h + delta)).

    Then k = m k + (1 - m) u^2; w -= rate u (Zeiler, 2012). All h come first in the history, then
    all k.
    """

    remembers = ("means of squares", "means of squared steps")

    def update(
        self, diffs: Arrays, history: Sequence[Arrays], rates: Sequence[float], step: int
    ) -> None:
        h, k = history
        _follow_squares(h, diffs, self.momentum)
        ratio = torch._foreach_add(k, self.delta)
        torch._foreach_div_(ratio, torch._foreach_add(h, self.delta))
        torch._foreach_sqrt_(ratio)
        torch._foreach_mul_(diffs, ratio)
        _follow_squares(k, diffs, self.momentum)
        torch._foreach_mul_(diffs, rates)


class Adam(Method):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2, b1 and b2 being momentum and momentum2.

    w -= rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + delta), t being the step, from 1 on
    (Kingma and Ba, 2015). All m come first in the history, then all v.
    """

    remembers = ("means", "means of squares")

    def __init__(self, param: SolverParameter) -> None:
        super().__init__(param)
        self.momentum2 = param.momentum2
        for name in ("momentum", "momentum2"):
            if not 0 <= getattr(param, name) < 1:
                raise NetError(f"{name} must be in [0, 1), not {getattr(param, name):g}", word=name)

    def update(
        self, diffs: Arrays, history: Sequence[Arrays], rates: Sequence[float], step: int
    ) -> None:
        m, v = history
        torch._foreach_mul_(m, self.momentum)
        torch._foreach_add_(m, diffs, alpha=1 - self.momentum)
        _follow_squares(v, diffs, self.momentum2)
        correction = math.sqrt(1 - self.momentum2**step) / (1 - self.momentum**step)
        torch._foreach_copy_(diffs, m)
        _divide_by_root(diffs, v, self.delta)
        torch._foreach_mul_(diffs, [rate * correction for rate in rates])


class AdamW(Adam):
    """Adam with decoupled weight decay: w -= rate decay w beside Adam's update.

    The gradient has no decay in it, so that m and v do not see it (Loshchilov and Hutter, 2019).
    """

    decoupled_by_itself = True


def _follow_squares(means: Arrays, values: Arrays, kept: float) -> None:
    """Let each of `means` be kept times itself, and 1 - kept times the square of its value."""
    torch._foreach_mul_(means, kept)
    torch._foreach_addcmul_(means, values, values, value=1 - kept)


def _divide_by_root(values: Arrays, squares: Arrays, delta: float) -> None:
    roots = torch._foreach_sqrt(squares)
    torch._foreach_add_(roots, delta)
    torch._foreach_div_(values, roots)


METHODS: dict[str, type[Method]] = {
    kind.__name__: kind for kind in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, AdamW)
}
"""By the name that `type` gives them."""
