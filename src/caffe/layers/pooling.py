"""Pooling over windows of a picture, and over a pyramid of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .. import mode
from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..phases import TRAIN
from ..proto.caffe_pb2 import LayerParameter, PoolingParameter, SPPParameter
from ..pytorch import F, torch
from . import pooling_in_training
from .asking import put_off
from .axes import picture_size
from .layer import Layer, Tensors, register
from .reach import Alignment, Reach, all_places
from .translation import Graph, Value, openvino
from .windows import SIDES, same_padding

if TYPE_CHECKING:
    from torch import Tensor

MAX, AVE, STOCHASTIC = PoolingParameter.MAX, PoolingParameter.AVE, PoolingParameter.STOCHASTIC
LOWEST = -float(np.finfo(np.float32).max)
"""What MAX starts from: a window without any larger value gives this; see `lowest`."""

SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Windows:
    """Windows over (height, width), as Caffe places them."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    floor: bool = False

    def out_sizes(self, height: int, width: int) -> tuple[int, int]:
        """How many windows there are: ceil((size + 2 pad - kernel) / stride) + 1.

        Only where there is any padding, a last window that would start behind the picture and
        its padding before it is dropped.
        """
        sizes = []
        for size, k, s, p in zip((height, width), self.kernel, self.stride, self.pad, strict=True):
            room = size + 2 * p - k
            count = (room // s if self.floor else -(-room // s)) + 1
            if any(self.pad) and (count - 1) * s >= size + p:
                count -= 1
            sizes.append(count)
        return sizes[0], sizes[1]

    def _along_both(self, height: int, width: int) -> list[tuple[int, int, int, int, int]]:
        """Size, kernel, stride, pad and number of windows, along the height and the width."""
        outs = self.out_sizes(height, width)
        sides = zip((height, width), self.kernel, self.stride, self.pad, outs, strict=True)
        return list(sides)

    def suits_torch(self, height: int, width: int) -> bool:
        """Whether PyTorch's own pooling has the same windows."""
        for size, k, s, p, out in self._along_both(height, width):
            if 2 * p > k or (out - 1) * s >= size + p or size + 2 * p < k:
                return False
        return True

    def fitted(self, x: Tensor, value: float) -> Tensor:
        """Pad `x` with `value`, or cut it, so that the windows cover it exactly."""
        height, width = x.shape[2:]
        sides = []
        for size, k, s, p, out in reversed(self._along_both(height, width)):
            sides += [p, (out - 1) * s + k - p - size]
        return F.pad(x, sides, value=value)

    def counts(
        self, height: int, width: int, padding_counts: bool, device: torch.device | None = None
    ) -> Tensor:
        """How many places each window has, (out height, out width)."""
        sides = []
        for size, k, s, p, out in self._along_both(height, width):
            start = torch.arange(out, device=device) * s - p
            end = (start + k).clamp(max=size + p if padding_counts else size)
            sides.append(end - (start if padding_counts else start.clamp(min=0)))
        return sides[0][:, None] * sides[1][None, :]


def lowest(x: Tensor) -> float:
    """Return what MAX starts from among such numbers: the short ones do not go so far."""
    return max(LOWEST, torch.finfo(x.dtype).min)


def max_pool(x: Tensor, windows: Windows, has_places: bool = True) -> tuple[Tensor, Tensor]:
    """Return each window's largest value, and its place (h * width + w; -1 for no place).

    Without `has_places` the places may be others.
    """
    height, width = x.shape[2:]
    least = lowest(x)
    is_asked_later = put_off() is not None
    if is_asked_later:
        x = pooling_in_training.numbers(x, least)
    if windows.suits_torch(height, width):
        values, places = F.max_pool2d(
            x,
            windows.kernel,
            windows.stride,
            windows.pad,
            ceil_mode=not windows.floor,
            return_indices=True,
        )
    else:
        fitted = windows.fitted(x, least)
        values, places = F.max_pool2d(fitted, windows.kernel, windows.stride, return_indices=True)
        if is_asked_later and not has_places:
            return values, places
        row = places.div(fitted.shape[3], rounding_mode="floor") - windows.pad[0]
        column = places % fitted.shape[3] - windows.pad[1]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        places = torch.where(inside & (values > least), row * width + column, -1)
    if is_asked_later:
        return values, torch.where(values > least, places, -1) if has_places else places
    # Whoever records this (torch.export) shows no values.
    if not torch.compiler.is_compiling() and not _are_numbers(values):
        # Caffe's comparison passes over what is not a number, and over minus infinity.
        values, places = max_pool(torch.where(x > least, x, least), windows)
        places = torch.where(values > least, places, -1)
    return values, places


def _as_numbers(places: Tensor, x: Tensor) -> Tensor:
    """Places as a top of such numbers: the short ones cannot tell those behind 256 apart."""
    return places.to(torch.promote_types(x.dtype, torch.float32))


def _are_numbers(values: Tensor) -> bool:
    """Whether no value is NaN or minus infinity, by their least: a mask would be written first."""
    return not values.numel() or bool(values.detach().amin() >= lowest(values))


def average_pool(x: Tensor, windows: Windows, padding_counts: bool = True) -> Tensor:
    """Return each window's mean; the padding counts as zeros, but not what lies behind it."""
    height, width = x.shape[2:]
    if windows.suits_torch(height, width):
        return F.avg_pool2d(
            x,
            windows.kernel,
            windows.stride,
            windows.pad,
            ceil_mode=not windows.floor,
            count_include_pad=padding_counts,
        )
    sums = F.avg_pool2d(windows.fitted(x, 0), windows.kernel, windows.stride, divisor_override=1)
    return sums / windows.counts(height, width, padding_counts, x.device).to(x)


class StochasticPool:
    """One value drawn from each window at TRAIN; at TEST their mean by the same probabilities."""

    def __init__(self, phase: int) -> None:
        self.phase = phase
        self._drawn: Tensor | None = None

    def __call__(self, x: Tensor, windows: Windows, again: bool) -> Tensor:
        (kh, kw), (sh, sw) = windows.kernel, windows.stride
        seen = windows.fitted(x, 0).unfold(2, kh, sh).unfold(3, kw, sw).flatten(4)
        if self.phase != TRAIN:
            return (seen * seen).sum(-1) / (seen.sum(-1) + SMALLEST)
        if self._drawn is None or not again:
            sums = seen.detach().cumsum(-1)
            share = torch.rand(sums.shape[:-1], generator=mode.generator()).to(x)
            reached = sums >= (share * sums[..., -1])[..., None]
            self._drawn = reached.to(torch.uint8).argmax(-1, keepdim=True)
        return seen.gather(-1, self._drawn)[..., 0]


@register("Pooling")
class Pooling(Layer[PoolingParameter]):
    """One value for each window: the largest (MAX), the mean (AVE), or one drawn (STOCHASTIC).

    A second top of MAX gives the place of the largest value as h * width + w. STOCHASTIC
    (Zeiler and Fergus, 2013) draws at TRAIN with probabilities proportional to the values, which
    must not be negative, and takes the mean by these probabilities at TEST.
    """

    message = "pooling_param"
    family = "pooling"
    alignment = Alignment.WINDOWS
    differences = (
        "STOCHASTIC also on the CPU; AVE_EXC_PAD, ceil_mode, pad_l, pad_r, pad_t, pad_b and "
        "pad_type of the forks"
    )
    tops = (1, 2)
    fresh_tops = True
    takes_short_numbers = True

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        param = layer_param.pooling_param
        given = any(getattr(param, f"pad_{side}") for side in SIDES) or param.pad_type
        return PaddedPooling if given else cls

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if len(self.layer_param.top) > 1 and param.pool != MAX:
            raise NetError("only MAX pooling has a second top")
        self._kernel = None if param.global_pooling else self._pair("kernel_size", "kernel")
        self._pad = self._pair("pad", "pad")
        self._stride = self._pair("stride", "stride")
        if param.global_pooling:
            if any(param.HasField(f) for f in ("kernel_size", "kernel_h", "kernel_w")):
                raise NetError("with global_pooling no kernel size is to be given")
            if self._pad != (0, 0) or self._stride != (1, 1):
                raise NetError("with global_pooling pad must be 0 and stride 1")
        if self._kernel is not None and min(self._kernel) < 1:
            raise NetError("kernel_size (or kernel_h and kernel_w) must be given, and at least 1")
        if min(self._stride) < 1:
            raise NetError(f"stride must be at least 1, not {self._stride}")
        if any(self._pad) and param.pool == STOCHASTIC:
            raise NetError("STOCHASTIC pooling takes no padding")
        if self._kernel and any(p >= k for p, k in zip(self._pad, self._kernel, strict=True)):
            raise NetError(f"pad {self._pad} must be smaller than the kernel {self._kernel}")
        self._stochastic = StochasticPool(self.phase)

    def _pair(self, name: str, short: str) -> tuple[int, int]:
        by_axis = [self.param.HasField(f"{short}_{axis}") for axis in "hw"]
        if any(by_axis):
            if self.param.HasField(name) or not all(by_axis):
                raise NetError(f"give {name}, or {short}_h and {short}_w both")
            return getattr(self.param, f"{short}_h"), getattr(self.param, f"{short}_w")
        return getattr(self.param, name), getattr(self.param, name)

    def windows(self, height: int, width: int) -> Windows:
        """The windows over a picture of this size."""
        floor = self.param.round_mode == PoolingParameter.FLOOR or not self.param.ceil_mode
        return Windows(self._kernel or (height, width), self._stride, self._pad, floor)

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        out = self.windows(height, width).out_sizes(height, width)
        if min(out) < 1:
            raise ShapeError(
                f"the kernel {self._kernel} does not fit into the bottom's {(height, width)} "
                f"with pad {self._pad}"
            )
        return [(*bottoms[0][:2], *out)] * max(1, len(self.layer_param.top))

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        windows = self.windows(*bottom[2:])
        return [
            Reach(k, Fraction(s), Fraction(-p))
            for k, s, p in zip(windows.kernel, windows.stride, windows.pad, strict=True)
        ]

    @property
    def is_pure(self) -> bool:
        return self.param.pool != STOCHASTIC or self.phase != TRAIN

    @property
    def stays_finite(self) -> bool:
        return self.param.pool != STOCHASTIC

    @property
    def asks_no_values(self) -> bool:
        # MAX looks for what is not a number.
        return self.param.pool != MAX

    @property
    def trains_unseen(self) -> bool:
        return self.param.pool != STOCHASTIC

    def forward(self, x: Tensor) -> Tensor | Sequence[Tensor]:
        windows = self.windows(*x.shape[2:])
        if self.param.pool == MAX:
            has_places = len(self.layer_param.top) > 1
            values, places = max_pool(x, windows, has_places)
            return (values, _as_numbers(places, x)) if has_places else values
        if self.param.pool == STOCHASTIC:
            return self._stochastic(x, windows, self.runs_again)
        return average_pool(x, windows, padding_counts=self.param.pool == AVE)

    def wants_record(self, inputs: Tensors) -> bool:
        return type(self).backward is Pooling.backward and not self._by_kernels(inputs[0])

    def forward_in_training(self, *inputs: Tensor) -> Tensor | Sequence[Tensor]:
        windows = self._by_kernels(inputs[0])
        if windows is None:
            return super().forward_in_training(*inputs)
        return pooling_in_training.max_pool(inputs[0], windows)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        windows = self._by_kernels(inputs[0])
        if windows is None:
            return super().backward(diffs, tops, inputs, needs)
        return [pooling_in_training.gradient(diffs[0], inputs[0], windows) if needs[0] else None]

    def _by_kernels(self, x: Tensor) -> Windows | None:
        """The windows whose maxima kernels of our own find, if they do."""
        is_ours = type(self).computes_as is Pooling and not self.is_patched
        if not is_ours or self.param.pool != MAX or len(self.layer_param.top) > 1:
            return None
        windows = self.windows(*x.shape[2:])
        return windows if pooling_in_training.is_compiled(x, windows) else None


def _not_in_openvino(layer: Pooling, shape: Shape) -> str | None:
    if layer.param.pool == STOCHASTIC or len(layer.layer_param.top) != 1:
        return "STOCHASTIC, or a second top"
    return None if layer.windows(*shape[2:]).suits_torch(*shape[2:]) else "windows in the padding"


@openvino.rule(Pooling, unless=_not_in_openvino)
def _pooling(layer: Pooling, graph: Graph, x: Value) -> Value:
    """Zeros are added behind until Caffe's last window is whole."""
    size = picture_size(graph.shape(x))
    windows = layer.windows(*size)
    (top,) = layer.top_shapes(graph.shape(x))
    behind = [
        max(0, (out - 1) * s + k - p - n)
        for n, k, s, p, out in zip(
            size, windows.kernel, windows.stride, windows.pad, top[2:], strict=True
        )
    ]
    stride, pad, kernel = list(windows.stride), list(windows.pad), list(windows.kernel)
    if layer.param.pool == MAX:
        return graph.ops.max_pool(x, stride, [1, 1], pad, behind, kernel).output(0)
    excludes = layer.param.pool != AVE
    y = graph.ops.avg_pool(x, stride, pad, behind, kernel, excludes)
    factor = math.prod(kernel) / windows.counts(*size, padding_counts=True).numpy()
    if excludes or (factor == 1).all():
        return y
    # Caffe leaves out what lies behind the padding.
    return graph.ops.multiply(y, graph.constant(factor[None, None]))


class PaddedPooling(Pooling):
    """A Pooling whose padding may differ from side to side, as forks have it."""

    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = Pooling.asks_no_values
    trains_unseen = Pooling.trains_unseen

    def setup(self, *bottoms: Shape) -> None:
        super().setup(*bottoms)
        if any(self._pad) or self.param.global_pooling or self.param.pool == STOCHASTIC:
            raise NetError(
                "pad_l to pad_b (or pad_type) go with neither pad, global_pooling nor STOCHASTIC"
            )
        if self.param.pad_type > 1:
            raise NetError(f"pad_type must be 0 or 1 (SAME), not {self.param.pad_type}")

    def _sides(self, height: int, width: int) -> list[int]:
        given = [getattr(self.param, f"pad_{side}") for side in SIDES]
        if any(given):
            return given
        assert self._kernel is not None
        return same_padding((height, width), self._kernel, self._stride)

    def _out_sizes(self, height: int, width: int) -> tuple[int, int]:
        left, right, top, bottom = self._sides(height, width)
        padded = (height + top + bottom, width + left + right)
        sizes = self.windows(*padded).out_sizes(*padded)
        # As with symmetric padding: no window starts behind the picture.
        ends = zip(sizes, (height + top, width + left), self._stride, strict=True)
        out = tuple(count - ((count - 1) * s >= end) for count, end, s in ends)
        return out[0], out[1]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        out = self._out_sizes(*picture_size(bottoms[0]))
        if min(out) < 1:
            raise ShapeError(
                f"the kernel {self._kernel} does not fit into the bottom's {bottoms[0][2:]}"
            )
        return [(*bottoms[0][:2], *out)] * max(1, len(self.layer_param.top))

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        left, _, top, _ = self._sides(*bottom[2:])
        found = super().receptive_field(bottom) or ()
        return [
            Reach(reach.size, reach.stride, Fraction(-before))
            for reach, before in zip(found, (top, left), strict=True)
        ]

    def forward(self, x: Tensor) -> Tensor | Sequence[Tensor]:
        height, width = x.shape[2:]
        sides = self._sides(height, width)
        rows, columns = self._out_sizes(height, width)
        kept = (..., slice(rows), slice(columns))
        padded = F.pad(x, sides, value=lowest(x) if self.param.pool == MAX else 0)
        windows = self.windows(*padded.shape[2:])
        if self.param.pool == MAX:
            values, places = max_pool(padded, windows)
            if len(self.layer_param.top) < 2:
                return values[kept]
            row = places.div(padded.shape[3], rounding_mode="floor") - sides[2]
            column = places % padded.shape[3] - sides[0]
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            places = _as_numbers(torch.where(inside, row * width + column, -1), x)
            return values[kept], places[kept]
        mean = average_pool(padded, windows)
        if self.param.pool == AVE:
            return mean[kept]
        inside = F.pad(torch.ones_like(x[:1, :1]), sides)
        return (mean / average_pool(inside, windows))[kept]


MOST_LEVELS = 32
"""How many levels a pyramid can have: the last has a window for each place of the longest axis."""


@register("SPP")
class SPP(Layer[SPPParameter]):
    """Spatial pyramid pooling (He et al., 2014): 1, 4, 16, ... windows, laid end to end."""

    message = "spp_param"
    family = "pooling"

    def setup(self, *bottoms: Shape) -> None:
        if self.param.pyramid_height < 1:
            raise NetError("pyramid_height must be at least 1")
        if self.param.pyramid_height > MOST_LEVELS:
            raise NetError(
                f"pyramid_height is {self.param.pyramid_height}, but no picture has more than "
                f"{MOST_LEVELS} levels"
            )
        self._stochastic = [StochasticPool(self.phase) for _ in range(self.param.pyramid_height)]

    @property
    def is_pure(self) -> bool:
        return self.param.pool != SPPParameter.STOCHASTIC or self.phase != TRAIN

    def _levels(self, height: int, width: int) -> list[Windows]:
        levels = []
        for level in range(self.param.pyramid_height):
            bins = 2**level
            kernel = (-(-height // bins), -(-width // bins))
            pad = ((kernel[0] * bins - height + 1) // 2, (kernel[1] * bins - width + 1) // 2)
            if any(p >= k for p, k in zip(pad, kernel, strict=True)):
                raise ShapeError(
                    f"the bottom's {height} x {width} is too small for level {level} of the "
                    f"pyramid, which has {bins} x {bins} windows"
                )
            if any(pad) and self.param.pool == SPPParameter.STOCHASTIC:
                raise ShapeError(
                    f"the bottom's {height} x {width} does not divide into {bins} x {bins} "
                    "windows, but STOCHASTIC pooling takes no padding"
                )
            levels.append(Windows(kernel, kernel, pad))
        return levels

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        num, channels = bottoms[0][:2]
        outs = [level.out_sizes(height, width) for level in self._levels(height, width)]
        if len(outs) == 1:
            return [(num, channels, *outs[0])]
        return [(num, channels * sum(h * w for h, w in outs))]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return all_places(bottom)

    def forward(self, x: Tensor) -> Tensor:
        levels = self._levels(*x.shape[2:])
        if self.param.pool == SPPParameter.MAX:
            pooled = [max_pool(x, level)[0] for level in levels]
        elif self.param.pool == SPPParameter.AVE:
            pooled = [average_pool(x, level) for level in levels]
        else:
            again = self.runs_again
            pooled = [f(x, level, again) for f, level in zip(self._stochastic, levels, strict=True)]
        return pooled[0] if len(pooled) == 1 else torch.cat([y.flatten(1) for y in pooled], 1)
