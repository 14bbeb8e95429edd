"""Learning rates of each parameter's own, by the sizes of its numbers and of its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NetError
from ..proto.caffe_pb2 import SolverParameter

if TYPE_CHECKING:
    from torch import Tensor

TURBO_MEMORY = 0.95
"""How much of its past larc_turbo keeps at each step."""

TURBO_SHARE = 0.9
"""What larc_turbo multiplies the correlation by."""


class LocalRates:
    """LARS as Intel's fork has it, and LARC as NVIDIA's has it (You et al., 2017).

    With w the parameter, g its gradient (clipped, and divided by iter_size), d weight_decay:

    - local_lr_auto: the rate is multiplied by
      ``local_gw_ratio |w| / (|g + d decay_mult w| + d |w|)``;
    - larc: with ``own = (1 - momentum) larc_eta |w| / |g|`` the rate is multiplied by it
      (larc_policy "scale"), or is the less of it and ``own`` ("clip"). With larc_turbo ``own`` is
      made less by 0.9 c, where ``c = 0.95 c + 0.05 cos(g, h)`` and h is the method's history.

    Where |w| or |g| is 0, the factor is 1. Of lr_mult counts only whether it is 0, as there.

    Parameters
    ----------
    param : SolverParameter
        What the solver's text says.
    count : int
        How many parameters there are.

    Raises
    ------
    NetError
        Both ways are asked for, or the policy is unknown.
    """

    def __init__(self, param: SolverParameter, count: int) -> None:
        self._param = param
        self.correlations = [0.0] * count
        if param.larc and param.local_lr_auto:
            raise NetError("give larc or local_lr_auto, not both", word="local_lr_auto")
        if param.larc_policy not in ("scale", "clip"):
            raise NetError(
                f"larc_policy must be scale or clip, not '{param.larc_policy}'", word="larc_policy"
            )

    def before_decay(
        self,
        number: int,
        rate: float,
        data: Tensor,
        diff: Tensor,
        history: Tensor,
        momentum: float,
    ) -> float:
        """Return a parameter's rate by LARC, from the gradient without decay."""
        if not self._param.larc:
            return rate
        w, g = float(data.norm()), float(diff.norm())
        own = (1 - momentum) * self._param.larc_eta * w / g if w and g else 1.0
        if self._param.larc_turbo:
            size = g * float(history.norm())
            cosine = float((diff * history).sum()) / size if size else 0.0
            kept = TURBO_MEMORY * self.correlations[number]
            self.correlations[number] = kept + (1 - TURBO_MEMORY) * cosine
            own -= TURBO_SHARE * self.correlations[number]
        return rate * own if self._param.larc_policy == "scale" else min(rate, own)

    def after_decay(self, rate: float, data: Tensor, diff: Tensor) -> float:
        """Return a parameter's rate by LARS, from the gradient with decay in it."""
        if not self._param.local_lr_auto:
            return rate
        w, g = float(data.norm()), float(diff.norm())
        if not w or not g:
            return rate
        return rate * self._param.local_gw_ratio * w / (g + self._param.weight_decay * w)
