"""The gradients of convolutions, each by the quickest of PyTorch's ways that gives it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..memory.blob import Shape
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

MANY_CHANNELS = 48
"""From how many channels of a window on oneDNN is quicker with planes, laying them included."""


@dataclass(frozen=True)
class Convolved:
    """How a convolution, or its transpose, was computed: its windows, and its groups."""

    stride: Shape
    pad: Shape
    dilation: Shape
    group: int
    transposed: bool

    def gradients(
        self, diff: Tensor, x: Tensor, weight: Tensor, bias: bool, needs: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the gradients by x, weight and bias, as far as they are needed."""
        if not needs[1] or not self._lies_by_rows(x):
            return self._torchs(diff, x, weight, bias, needs)
        if self._is_product(weight):
            of_x = self._torchs(diff, x, weight, bias, [needs[0], False, False])[0]
            rows = _rows(diff)
            of_weight = rows.t() @ _rows(x[:, :, :: self.stride[0], :: self.stride[1]])
            return [of_x, of_weight.view(weight.shape), rows.sum(0) if needs[2] else None]
        if self._wants_planes(weight):
            of_x = self._torchs(diff, x, weight, bias, [needs[0], False, False])[0]
            planes = diff.contiguous(), x.contiguous()
            return [of_x, *self._torchs(*planes, weight, bias, [False, *needs[1:]])[1:]]
        return self._torchs(diff, x, weight, bias, needs)

    def _torchs(
        self, diff: Tensor, x: Tensor, weight: Tensor, bias: bool, needs: Sequence[bool]
    ) -> list[Tensor | None]:
        if not any(needs):
            return [None] * len(needs)
        found = torch.ops.aten.convolution_backward(
            *(diff, x, weight, [diff.shape[1]] if bias else None),
            *(self.stride, self.pad, self.dilation),
            *(self.transposed, [0] * len(self.stride), self.group, list(needs)),
        )
        # Some of PyTorch's kernels give more than what was asked for.
        return [gradient if need else None for gradient, need in zip(found, needs, strict=True)]

    def _lies_by_rows(self, x: Tensor) -> bool:
        """Whether the channels of a place are beside each other, on the CPU."""
        is_row = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        return is_row and x.device.type == "cpu" and x.dtype == torch.float32

    def _is_product(self, weight: Tensor) -> bool:
        is_point = math.prod(weight.shape[2:]) == 1 and not any(self.pad)
        return is_point and self.group == 1 and not self.transposed

    def _wants_planes(self, weight: Tensor) -> bool:
        """Whether oneDNN's kernel for channels last, where it has one, takes up to five times."""
        return (
            not self.transposed
            and math.prod(weight.shape[2:]) > 1
            and weight.shape[1] >= MANY_CHANNELS
        )


def _rows(x: Tensor) -> Tensor:
    """Return pictures as rows, one for each place, of all its channels."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
