"""Local response normalisation across channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...compiled.llvm import width_for
from ...compiled.normalizing import MOST_CHANNELS, Normalizing
from ...layers.lrn import LRN
from ...memory.blob import Shape
from ...proto.caffe_pb2 import LRNParameter
from ...pytorch import torch
from ..steps import Step
from .builder import Builder
from .operation import Operation, Values, operation
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

LEAST_COMPILED = 2**16
"""From how many numbers on a kernel of our own is worth the time in which it is compiled."""


class LRNOperation(Operation):
    """Normalisation across channels, by a kernel of our own or a run of pixels at a time."""

    how = "normalisation in pieces"

    def __init__(self, step: Step, settings: Settings) -> None:
        super().__init__(step, settings)
        if self._dtype == torch.float16:
            # Squares soon outgrow it.
            self._dtype = torch.float32
        param: LRNParameter = step.layer.param
        shape = step.bottoms[0].shape
        self._channels = shape[1]
        self._normalize: Normalizing | Pieces
        if self._dtype == torch.float32 and _is_worth_compiling(param, shape):
            size, alpha, k = param.local_size, param.alpha, param.k
            self._normalize, self.how = Normalizing(size, alpha, k, shape[1]), "normalisation"
        else:
            self._normalize = Pieces(param, shape, self._dtype)

    def run(self, values: Values) -> None:
        x = self.bottom(values, self._dtype).contiguous(memory_format=torch.channels_last)
        top = torch.empty_like(x)
        self._normalize(*(t.permute(0, 2, 3, 1).view(-1, self._channels) for t in (x, top)))
        values[self.writes[0]] = top


def _is_worth_compiling(param: LRNParameter, shape: Shape) -> bool:
    """Whether there is a kernel for it, and enough work."""
    width = width_for(shape[1]) if math.prod(shape) >= LEAST_COMPILED else 0
    return (
        bool(width)
        and param.beta == 0.75
        and param.local_size <= 2 * width
        and shape[1] <= MOST_CHANNELS
    )


class Pieces:
    """Normalises by PyTorch's operators.

    A piece stays in the processor's cache from the squares to the product, and is still large
    enough to be shared between its cores.

    Parameters
    ----------
    param : LRNParameter
        How.
    shape : tuple of int
        The pictures'.
    dtype : torch.dtype
        In what is computed.
    """

    SIZE = 2**18

    def __init__(self, param: LRNParameter, shape: Shape, dtype: torch.dtype) -> None:
        self._param = param
        number, self._channels, height, width = shape
        pixels = number * height * width
        step_size = max(1, self.SIZE // self._channels)
        self._pieces = [min(step_size, pixels - i) for i in range(0, pixels, step_size)]
        self._one = torch.tensor(param.k, dtype=dtype)
        # Zeros stand beside the channels, so that every window is whole.
        rows, padded = self._pieces[0], self._channels + param.local_size - 1
        self._squares = torch.zeros(rows, padded, dtype=dtype)
        self._pairs = torch.empty_like(self._squares)
        self._base = torch.empty(rows, self._channels, dtype=dtype)
        self._views = {n: self._views_of(n) for n in set(self._pieces)}

    def _views_of(self, rows: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Views of the first rows: of the squares from each neighbour on, of pairs, of the base."""
        squares, pairs = self._squares[:rows], self._pairs[:rows]
        count = self._channels
        shifted = [squares.narrow(1, i, count) for i in range(self._param.local_size)]
        if self._param.local_size != 5:
            return shifted, [], self._base[:rows]
        halves = [squares.narrow(1, i, count + 3) for i in (0, 1)]
        doubled = [pairs.narrow(1, 0, count + 3), *(pairs.narrow(1, i, count) for i in (0, 2))]
        return shifted, halves + doubled, self._base[:rows]

    def __call__(self, pixels: Tensor, results: Tensor) -> None:
        """Write what becomes of `pixels`, (number, channels), into `results`."""
        if len(self._pieces) == 1:
            self._powers(pixels, results)
            return
        pieces = (t.split(self._pieces) for t in (pixels, results))
        for x, top in zip(*pieces, strict=True):
            self._powers(x, top)

    def _powers(self, x: Tensor, top: Tensor) -> None:
        """Write x / (k + alpha / size * sum of squares nearby) ** beta into `top`."""
        param = self._param
        shifted, fives, base = self._views[len(x)]
        torch.mul(x, x, out=shifted[param.local_size // 2])
        if fives:
            # Sums of two neighbours serve twice.
            torch.add(fives[0], fives[1], out=fives[2])
            torch.add(fives[3], fives[4], out=base)
            base.add_(shifted[4])
        else:
            base.copy_(shifted[0])
            for square in shifted[1:]:
                base.add_(square)
        torch.add(self._one, base, alpha=param.alpha / param.local_size, out=base)
        if param.beta == 0.75:
            # Two roots and a division cost less than one power; of infinity they make 0.
            torch.rsqrt(base.rsqrt_(), out=top)
            torch.div(base, top, out=top).mul_(x)
        else:
            torch.mul(base.pow_(-param.beta), x, out=top)


def _not_in_pieces(layer: LRN, step: Step, settings: Settings) -> str | None:
    if not layer.is_across:
        return "within channels"
    return None if settings.store is None else "on a GPU that is one kernel, where Triton works"


@operation.rule(LRN, unless=_not_in_pieces)
def _lrn(builder: Builder, number: int) -> LRNOperation:
    return LRNOperation(builder.steps[number], builder.settings)
