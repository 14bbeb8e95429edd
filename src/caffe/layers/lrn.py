"""Local response normalisation: across channels, or within one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import NetError, ShapeError
from ..gpu import normalizing
from ..memory.blob import Shape
from ..proto.caffe_pb2 import LRNParameter
from ..pytorch import F, torch
from .layer import Layer, Tensors, register
from .reach import Alignment, Reach, same_place
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 1e19
"""The largest number, about, that has a square."""

PIECE = 2**19
"""How many numbers LRN takes at a time on the CPU, of many: it goes over them a dozen times."""


@register("LRN")
class LRN(Layer[LRNParameter]):
    """Local response normalisation (Krizhevsky et al., 2012).

    ACROSS_CHANNELS: top = x / (k + alpha / n * sum of x**2 over n channels) ** beta.
    WITHIN_CHANNEL: top = x / (1 + alpha * mean of x**2 over n x n places) ** beta.
    """

    message = "lrn_param"
    family = "normalization"
    alignment = Alignment.KEPT
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.local_size % 2 == 0:
            raise NetError(f"local_size must be odd, not {self.param.local_size}")
        self.is_across = self.param.norm_region == LRNParameter.ACROSS_CHANNELS
        self.ignores_propagate_down = self.is_across

    @property
    def numbers(self) -> tuple[int, float, float, float]:
        """The size, alpha, beta and k."""
        return self.param.local_size, self.param.alpha, self.param.beta, self.param.k

    @property
    def stays_finite(self) -> bool:
        return self.param.alpha >= 0 and (self.param.k > 0 or not self.is_across)

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms[0]) != 4:
            raise ShapeError(
                f"the bottom must have 4 axes (num, channels, height, width), not {bottoms[0]}"
            )
        return [bottoms[0]]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        if self.is_across:
            return same_place(bottom)
        size = self.param.local_size
        return [Reach(size, Fraction(1), Fraction(-(size // 2)))] * 2

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_across:
            size = self.param.local_size
            mean = F.avg_pool2d(x * x, size, 1, size // 2)
            return x * (1 + self.param.alpha * mean).pow(-self.param.beta)
        if normalizing.takes(x, self.param.local_size):
            return normalizing.forward(x, *self.numbers)
        return _by_pictures(self._across, x)

    def _across(self, x: Tensor) -> Tensor:
        # Squares soon outgrow short numbers.
        wide = x.float() if x.dtype == torch.float16 else x
        return (self._factor(self._base(wide)) * wide).to(x.dtype)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        if not self.is_across:
            return super().backward(diffs, tops, inputs, needs)
        (x,), (diff,) = inputs, diffs
        if normalizing.takes(x, self.param.local_size):
            return [normalizing.backward(diff, x, *self.numbers)]
        return [_by_pictures(self._gradient_across, x, diff)]

    def _gradient_across(self, x: Tensor, diff: Tensor) -> Tensor:
        # With s the base: by x[j], d[j] s[j]^-b - 2 a b / n x[j] sum of (d x s^(-b - 1)) nearby.
        base = self._base(x)
        factor = self._factor(base)
        nearby = self._nearby(factor.mul(diff).mul_(x).div_(base))
        share = 2 * self.param.alpha * self.param.beta / self.param.local_size
        return factor.mul_(diff).addcmul_(nearby, x, value=-share)

    def _base(self, x: Tensor) -> Tensor:
        """Return k + alpha / n * sum of x**2 over n channels."""
        total = self._nearby(x * x)
        return total.mul_(self.param.alpha / self.param.local_size).add_(self.param.k)

    def _factor(self, base: Tensor) -> Tensor:
        """Return base ** -beta."""
        if self.param.beta != 0.75:
            return base.pow(-self.param.beta)
        # Two square roots cost less than one power.
        root = base.rsqrt()
        return root * root.sqrt()

    def _nearby(self, x: Tensor) -> Tensor:
        """Add up `local_size` channels around each."""
        total = x.clone()
        for away in range(1, min(self.param.local_size // 2 + 1, x.shape[1])):
            total[:, away:].add_(x[:, :-away])
            total[:, :-away].add_(x[:, away:])
        return total


def band(channels: int, size: int, alpha: float) -> NDArray[np.float64]:
    """Return kernels, (channels, channels, 1, 1), that add up alpha / size of channels nearby.

    A convolution by them is quicker in some libraries than LRN is, and more exact. Numbers above
    `LARGEST` are to be brought down to it first: 0 times infinity is no number.
    """
    places = np.arange(channels)
    is_near = np.abs(places[:, None] - places) <= size // 2
    kernels: NDArray[np.float64] = (is_near * (alpha / size))[:, :, None, None]
    return kernels


def _by_pictures(function: Callable[..., Tensor], x: Tensor, *others: Tensor) -> Tensor:
    """Return a function of pictures; on the CPU of some at a time, to stay in the caches."""
    is_recorded = torch.is_grad_enabled() or torch.compiler.is_compiling()
    if x.device.type != "cpu" or is_recorded or x.numel() < 4 * PIECE:
        return function(x, *others)
    count = max(1, PIECE * len(x) // x.numel())
    found = torch.empty_like(x)
    for part, *parts in zip(*(t.split(count) for t in (found, x, *others)), strict=True):
        part.copy_(function(*parts))
    return found


def _not_across(layer: LRN, x: Shape) -> str | None:
    if not layer.is_across:
        return "within channels"
    return None if layer.param.k > 0 else "k is not positive"


@openvino.rule(LRN, unless=_not_across)
def _lrn(layer: LRN, graph: Graph, x: Value) -> Value:
    size, alpha, beta, k = (
        layer.param.local_size, layer.param.alpha, layer.param.beta, layer.param.k
    )  # fmt: skip
    # OpenVINO takes k for a whole number, so it is taken out: k ** -beta is left.
    y = graph.ops.lrn(x, graph.integers([1]), alpha / k, beta, 1.0, size)
    return y if k == 1 else graph.ops.multiply(y, graph.constant(k**-beta))
