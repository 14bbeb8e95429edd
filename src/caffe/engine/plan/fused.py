"""What operations share that take the layers behind them along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ... import onednn
from ...layers.layer import Activation
from ..steps import Step
from .operation import Operation, Part, activate
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

RELU = Activation(slope=0)


class Fused(Operation):
    """A layer, the affine ones that are folded into its weights, and the activation behind them.

    Parameters
    ----------
    step : Step
        The layer with the product.
    followers : sequence of Step
        What follows on its top in place, see `Builder.join`.
    settings : Settings
        In what and where it is computed.
    """

    def __init__(self, step: Step, followers: Sequence[Step], settings: Settings) -> None:
        super().__init__(step, settings)
        self._layer: Any = step.layer
        self._is_packed = settings.store is None and onednn.has_packed_operators()
        self._activation = Activation()
        self.parts += map(Part.of, followers)
        self._folded = [follower.layer for follower in followers if follower.layer.is_affine]
        for follower in followers:
            self.params += follower.layer.blobs
            self._activation = follower.layer.activation or self._activation
        self._attr, self._scalars = packed_name(self._activation) or ("none", [])

    def _activate(self, y: Tensor) -> Tensor:
        return activate(y, self._activation)


def packed_name(activation: Activation) -> tuple[str, list[float]] | None:
    """Return the packed operators' name for an activation, with its numbers; None for no such."""
    slope, least, most = activation.slope, activation.least, activation.most
    if slope not in (0, 1):
        return ("leaky_relu", [slope]) if -least == most == math.inf else None
    if slope == 0:
        least = max(0.0, least)
        if least == 0 and most == math.inf:
            return "relu", []
    elif -least == most == math.inf:
        return "none", []
    return ("hardtanh", [least, most]) if -math.inf < least <= most < math.inf else None
