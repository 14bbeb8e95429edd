"""Convolutions in training: each of them, and each gradient, by the quickest way that gives it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .. import onednn
from ..memory.blob import Shape
from ..pytorch import F, torch
from . import first_convolutions
from . import winograd_in_training as winograd
from .asking import are_finite
from .winograd import are_compiled

if TYPE_CHECKING:
    from torch import Tensor

# With AVX-512 oneDNN has quick kernels for gradients by weights: these figures are for others.

MANY_CHANNELS = 48
"""From how many channels of a window on oneDNN is quicker with planes, laying them included."""

FEW_CHANNELS, MANY_PLACES = 4, 2048
"""Up to how many channels that are read, and from how many places that are made on, oneDNN takes
up to twice as long for the gradient by the weights as a product of matrices of windows does."""

MOST_LAID = 2**24
"""How many numbers of windows are laid out at a time, at most."""

SLOWER = 1.5
"""How many times a convolution's time oneDNN's gradient by its weights takes."""


@dataclass(frozen=True)
class Convolved:
    """How a convolution, or its transpose, was computed: its windows, and its groups.

    With `is_exact` it never runs by Winograd's algorithm.
    """

    stride: Shape
    pad: Shape
    dilation: Shape
    group: int
    transposed: bool
    is_exact: bool = False

    def by_kernels(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
        """Return the convolution by an algorithm of our own; None where PyTorch's is as quick."""
        if not self._is_of_few(x, weight.shape):
            return self.by_tiles(x, weight, bias)
        stride = self.stride[0], self.stride[1]
        if any(self.pad) and not are_finite(weight):
            # Zeros around pictures would make NaN of them.
            return None
        return first_convolutions.convolved(x, weight, bias, stride, self.pad)

    def by_tiles(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
        """Return the convolution by Winograd's algorithm; None where that does not pay.

        Nor where there is no finite number: it would go to all places of a tile.
        """
        if not self.pays(x, weight.shape):
            return None
        if bias is not None and not are_finite(bias):
            return None
        y = winograd.convolved(x, weight, bias, self.pad, self.group)
        return _if_finite(y, weight, self.group)

    def pays(self, x: Tensor, weight: Shape, slower: float = 1.0) -> bool:
        """Whether Winograd's algorithm knows such a convolution of pictures, and is worth it."""
        is_close = self.stride == self.dilation == (1, 1) and not self.transposed
        if not is_close or self.is_exact or not self._lies_by_rows(x):
            return False
        return winograd.pays(tuple(x.shape), tuple(weight), self.pad, self.group, slower)

    def gradients(
        self, diff: Tensor, x: Tensor, weight: Tensor, bias: bool, needs: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the gradients by x, weight and bias, as far as they are needed."""
        if not self._lies_by_rows(x):
            return self._torchs(diff, x, weight, bias, needs)
        # It lies as planes where somebody holds it: no gradient is to round otherwise for that.
        diff = diff.contiguous(memory_format=torch.channels_last)
        of_x = self._of_bottom(diff, weight) if needs[0] else None
        of_weight, of_bias = self._of_parameters(diff, x, weight, needs)
        ours = of_x, of_weight, of_bias
        rest = [need and one is None for need, one in zip(needs, ours, strict=True)]
        if rest[1] and self._wants_planes(weight):
            planes = diff.contiguous(), x.contiguous()
            _, of_weight, of_bias = self._torchs(*planes, weight, bias, [False, *rest[1:]])
            rest[1:] = False, False
        found = self._torchs(diff, x, weight, bias, rest)
        known = of_x, of_weight, of_bias
        return [a if a is not None else b for a, b in zip(known, found, strict=True)]

    def _of_bottom(self, diff: Tensor, weight: Tensor) -> Tensor | None:
        """The gradient by x as a convolution by tiles, of the kernels turned around."""
        outputs, inputs, *size = weight.shape
        pad = tuple(k - 1 - p for k, p in zip(size, self.pad, strict=True))
        back = replace(self, pad=pad)
        shape = (inputs * self.group, outputs // self.group, *size)
        if min(pad) < 0 or not back.pays(diff, shape):
            return None
        return _if_finite(winograd.gradient(diff, weight, pad, self.group), weight, self.group)

    def _of_parameters(
        self, diff: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients by weight and bias, as far as neither is left to oneDNN."""
        if needs[1] and self._is_of_few(x, weight.shape):
            stride = self.stride[0], self.stride[1]
            found = first_convolutions.gradients(diff, x, weight.shape, stride, self.pad)
            # Zeros around pictures make NaN of what is no finite number.
            if not any(self.pad) or are_finite(found[0]):
                return found[0], found[1] if needs[2] else None
        of_weight = self._of_weight(diff, x, weight) if needs[1] else None
        # For a first layer sums on the way take a fifth longer, with AVX-512.
        is_apart = needs[2] and (of_weight is not None or onednn.has_long_vectors())
        return of_weight, diff.sum((0, 2, 3)) if is_apart else None

    def _is_of_few(self, x: Tensor, weight: Shape) -> bool:
        """Whether kernels of our own know such a convolution of few channels, and pay."""
        if self.is_exact or self.transposed or self.group > 1 or self.dilation != (1, 1):
            return False
        return self._lies_by_rows(x) and first_convolutions.pays(
            tuple(x.shape), tuple(weight), self.stride, self.pad
        )

    def _of_weight(self, diff: Tensor, x: Tensor, weight: Tensor) -> Tensor | None:
        """The gradient by the weights as a product of matrices, or by tiles; None for oneDNN's."""
        of_group = x.shape[1] // self.group, len(weight) // self.group
        if are_compiled(*of_group) and self.pays(x, weight.shape):
            return self._by_tiles(diff, x, weight)
        if onednn.has_long_vectors():
            return None
        if self._is_product(weight):
            rows = _rows(diff).t() @ _rows(x[:, :, :: self.stride[0], :: self.stride[1]])
            return rows.view(weight.shape)
        if self._is_first(diff, weight):
            return _by_windows(diff, x, weight.shape, self.stride, self.pad)
        return self._by_tiles(diff, x, weight) if self.pays(x, weight.shape, SLOWER) else None

    def _by_tiles(self, diff: Tensor, x: Tensor, weight: Tensor) -> Tensor | None:
        found = winograd.weight_gradient(diff, x, weight.shape[2], self.pad, self.group)
        return found if are_finite(found) else None

    def _torchs(
        self, diff: Tensor, x: Tensor, weight: Tensor, bias: bool, needs: Sequence[bool]
    ) -> list[Tensor | None]:
        if not any(needs):
            return [None] * len(needs)
        stride = spreading(self.stride, x) if self.transposed else self.stride
        found = torch.ops.aten.convolution_backward.default(
            *(diff, x, weight, [diff.shape[1]] if bias else None),
            *(stride, self.pad, self.dilation),
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

    def _is_first(self, diff: Tensor, weight: Tensor) -> bool:
        """Whether it makes many places of few channels, as first layers do of colours."""
        return (
            diff.numel() > 0
            and weight.shape[1] <= FEW_CHANNELS
            and math.prod(diff.shape[2:]) >= MANY_PLACES
            and math.prod(diff.shape[2:]) * math.prod(weight.shape[1:]) <= MOST_LAID
            and self.dilation == (1, 1)
            and self.group == 1
            and not self.transposed
        )

    def _wants_planes(self, weight: Tensor) -> bool:
        """Whether oneDNN's kernel for channels last, where it has one, takes up to five times."""
        return (
            not onednn.has_long_vectors()
            and not self.transposed
            and math.prod(weight.shape[2:]) > 1
            and weight.shape[1] >= MANY_CHANNELS
        )


def spreading(stride: Shape, x: Tensor) -> Shape:
    """Return a transposed convolution's strides: it takes none from a single column.

    Its gradient would be misread, see `Convolution.is_misread`.
    """
    return (*stride[:-1], 1) if x.shape[-1] == 1 else stride


def _if_finite(y: Tensor, weight: Tensor, group: int) -> Tensor | None:
    """Return what was computed by tiles, unless a number that is not finite went into it."""
    # An odd number of a tile is in all channels of its group, an odd weight in all its places.
    firsts = y[:, :: y.shape[1] // group]
    return y if are_finite(firsts) and are_finite(weight) else None


def _rows(x: Tensor) -> Tensor:
    """Return pictures as rows, one for each place, of all its channels."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _by_windows(diff: Tensor, x: Tensor, weight: Shape, stride: Shape, pad: Shape) -> Tensor:
    """Return the gradient by weights of a shape, as products of all windows with their gradients.

    Each thread has a picture, and some pictures are laid out at a time.
    """
    outputs, channels, *size = weight
    number, _, height, width = diff.shape
    rows = x.permute(0, 2, 3, 1)
    if any(pad):
        rows = F.pad(rows, (0, 0, pad[1], pad[1], pad[0], pad[0]))
    # Sides of one place may lie in any steps.
    rows = rows.contiguous()
    picture, line, place, _ = rows.stride()
    windows = rows.as_strided(
        (number, height, width, size[0], size[1] * channels),
        (picture, stride[0] * line, stride[1] * place, line, 1),
    )
    gradients = _rows(diff).view(number, -1, outputs)
    most = MOST_LAID // math.prod(windows.shape[1:])
    together = min(number, torch.get_num_threads(), most)
    laid = x.new_empty(together, *windows.shape[1:])
    sums = x.new_zeros(together, outputs, math.prod(weight[1:]))
    for first in range(0, number, together):
        part = windows[first : first + together]
        here = laid[: len(part)].copy_(part).view(len(part), height * width, -1)
        sums[: len(part)].baddbmm_(gradients[first : first + together].transpose(1, 2), here)
    return sums.sum(0).view(outputs, *size, channels).permute(0, 3, 1, 2)
