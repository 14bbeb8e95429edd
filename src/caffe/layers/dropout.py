"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import mode
from ..blob import Shape
from ..errors import NetError
from .layer import TRAIN, Layer, Tensors, register


@register("Dropout")
class Dropout(Layer):
    """At TRAIN zero with the probability dropout_ratio, else x / (1 - dropout_ratio); at TEST x.

    Srivastava et al., 2014.
    """

    message = "dropout_param"

    def setup(self, *bottoms: Shape) -> None:
        if not 0 <= self.param.dropout_ratio < 1:
            raise NetError(
                f"dropout_ratio must be at least 0 and below 1, not {self.param.dropout_ratio:g}"
            )

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        if self.phase != TRAIN:
            return x
        kept = 1 - self.param.dropout_ratio
        drawn = torch.empty(x.shape).bernoulli_(kept, generator=mode.generator())
        self._mask = drawn.to(x) / kept
        return x * self._mask

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # By the mask that forward drew.
        return [diffs[0] * self._mask if self.phase == TRAIN else diffs[0]]
