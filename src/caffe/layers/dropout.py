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

    Srivastava et al., 2014. Without scale_train x stays as it is at TRAIN, and TEST scales by
    what is kept on average.
    """

    message = "dropout_param"
    differences = "scale_train of the forks"
    pointwise = True

    def setup(self, *bottoms: Shape) -> None:
        if not 0 <= self.param.dropout_ratio < 1:
            raise NetError(
                f"dropout_ratio must be at least 0 and below 1, not {self.param.dropout_ratio:g}"
            )

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        kept = 1 - self.param.dropout_ratio
        if self.phase != TRAIN:
            return x if self.param.scale_train else x * kept
        drawn = torch.empty(x.shape).bernoulli_(kept, generator=mode.generator())
        self._mask = drawn.to(x) / (kept if self.param.scale_train else 1)
        return x * self._mask

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # By the mask that forward drew.
        if self.phase == TRAIN:
            return [diffs[0] * self._mask]
        return [self.forward(diffs[0])]
