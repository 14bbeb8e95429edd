"""BN: normalisation with a factor and a summand in one layer, as three forks have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..phases import TEST
from ..proto.caffe_pb2 import BNParameter, LayerParameter
from ..pytorch import torch
from ..weights.layer_weights import WeightBlob, in_shapes
from .layer import Layer, Parameter, Tensors, register

if TYPE_CHECKING:
    from torch import Tensor


@register("BN")
class BN(Layer[BNParameter]):
    """top = scale * (x - mean) / sqrt(variance + eps) + shift, by channel.

    Three forks have a BN of their own; the fields that are given say which is meant.

    PSPNet (slope_filler, bias_filler, momentum, frozen): four blobs of shape (1, C): scale, shift,
    and the running mean and variance, which count at TEST and where `frozen`.
    SegNet (scale_filler, shift_filler, bn_mode): two blobs of shape (1, C, 1, 1). LEARN takes the
    batch's own mean and variance, which more tops show; INFERENCE is scale * x + shift.
    PSPNet's first version (decay, moving_average, var_eps): four blobs of shape (1, C, 1, 1).
    """

    message = "bn_param"
    family = "normalization"
    pointwise = True
    keeps_bottom = True
    backward_uses_record = True
    tops = (1, 3)
    differences = "of the forks"
    asks_no_values = True

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        param = layer_param.bn_param
        if any(map(param.HasField, ("var_eps", "decay", "moving_average", "axis"))):
            return DecayingBN
        segnet = any(map(param.HasField, ("bn_mode", "scale_filler", "shift_filler")))
        return SegNetBN if segnet or len(layer_param.top) > 1 else cls

    channel_axis = 1

    def setup(self, *bottoms: Shape) -> None:
        self.channel_axis = self.axis(self.channel_axis, bottoms[0])
        self.channels = bottoms[0][self.channel_axis]
        specs = self.layer_param.param
        while len(specs) < 4:
            specs.add()
        for spec in specs if self.param.frozen else specs[2:]:
            spec.lr_mult = spec.decay_mult = 0
        if len(self.layer_param.top) > 1:
            raise NetError("only SegNet's BN has more than one top")

    @property
    def uses_running(self) -> bool:
        """Whether the running mean and variance are used, not the batch's."""
        return self.param.frozen or self.phase == TEST

    @property
    def is_pure(self) -> bool:
        return self.uses_running

    @property
    def repeats(self) -> bool:
        return True

    @property
    def eps(self) -> float:
        """What is added to the variance."""
        return self.param.eps

    @property
    def kept(self) -> float:
        """What stays of the running values when a batch is added."""
        return self.param.momentum

    def blob_shape(self) -> Shape:
        """The shape of each blob."""
        return (1, self.channels)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape, param = self.blob_shape(), self.param
        one = type(param.slope_filler)(type="constant", value=1)
        return [
            Parameter(shape, param.slope_filler),
            Parameter(shape, param.bias_filler),
            Parameter(shape),
            Parameter(shape, one if param.frozen else None),
        ]

    @property
    def statistics(self) -> int:
        return sum(blob.count for blob in self.blobs[2:4])

    def adjust_trained(self, blobs: Sequence[WeightBlob]) -> Sequence[WeightBlob]:
        return in_shapes(blobs, [blob.shape for blob in self.blobs])

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms[0]) <= self.channel_axis or bottoms[0][self.channel_axis] != self.channels:
            raise ShapeError(
                f"the bottom now has the shape {bottoms[0]}, but the blobs are for "
                f"{self.channels} channels on axis {self.channel_axis}"
            )
        return [bottoms[0]]

    def along(self, blob: Tensor, x: Tensor) -> Tensor:
        """View a blob so that it spreads over `x`."""
        shape = [1] * x.dim()
        shape[self.channel_axis] = self.channels
        return blob.reshape(shape)

    def batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and variance of each channel, spread over `x`."""
        axes = [axis for axis in range(x.dim()) if axis != self.channel_axis]
        mean = x.mean(axes, keepdim=True)
        return mean, (x - mean).square().mean(axes, keepdim=True)

    def forward(self, x: Tensor, *params: Tensor) -> Tensor | Sequence[Tensor]:
        scale, shift, *running = (self.along(p, x) for p in params)
        if self.uses_running:
            mean, variance = running
        else:
            mean, variance = self.batch_statistics(x)
            with torch.no_grad():
                changed = [
                    (self.kept * old + (1 - self.kept) * new).reshape(self.blob_shape())
                    for old, new in zip(running, (mean, variance), strict=True)
                ]
                self._changed = [params[0].detach(), params[1].detach(), *changed]
        return (x - mean) * (variance + self.eps).rsqrt() * scale + shift

    @property
    def is_affine(self) -> bool:
        return self.uses_running and self.channel_axis == 1 and len(self.layer_param.top) == 1

    def affine(self, *params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        scale, shift, mean, variance = (p.flatten() for p in params)
        factor = (variance + self.eps).rsqrt() * scale
        return factor, shift - mean * factor

    def changed_parameters(self) -> Sequence[Tensor] | None:
        return None if self.uses_running or self.phase == TEST else self._changed

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        # The running values have no gradient; frozen ones have none at all.
        learns = not self.param.frozen
        needed = [needs[0], *(need and learns for need in needs[1:3]), *[False] * len(needs[3:])]
        return super().backward(diffs, tops, inputs, needed)


class DecayingBN(BN):
    """BN of PSPNet's first version."""

    is_affine = BN.is_affine
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.axis not in (1, 2):
            raise NetError(f"axis must be 1 or 2, not {self.param.axis}")
        self.channel_axis = self.param.axis
        super().setup(*bottoms)

    @property
    def uses_running(self) -> bool:
        return self.phase == TEST and self.param.moving_average

    @property
    def eps(self) -> float:
        return self.param.var_eps

    @property
    def kept(self) -> float:
        return 1 - self.param.decay

    def blob_shape(self) -> Shape:
        shape = [1] * 4
        shape[self.channel_axis] = self.channels
        return tuple(shape)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        fillers = (self.param.scale_filler, self.param.shift_filler, None, None)
        return [Parameter(self.blob_shape(), filler) for filler in fillers]


class SegNetBN(BN):
    """BN of SegNet."""

    is_pure = True
    uses_running = False
    eps = 1e-9
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        self.channel_axis = self.axis(1, bottoms[0])
        self.channels = bottoms[0][1]

    def blob_shape(self) -> Shape:
        return (1, self.channels, 1, 1)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        fillers = (self.param.scale_filler, self.param.shift_filler)
        return [Parameter(self.blob_shape(), filler) for filler in fillers]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        (shape,) = super().top_shapes(*bottoms)
        return [shape, *[self.blob_shape()] * (len(self.layer_param.top) - 1)]

    def forward(self, x: Tensor, *params: Tensor) -> Tensor | Sequence[Tensor]:
        scale, shift = (self.along(p, x) for p in params)
        if self.param.bn_mode == BNParameter.INFERENCE:
            zeros = torch.zeros_like(scale).reshape(self.blob_shape())
            return self._with_statistics(x * scale + shift, zeros, zeros)
        mean, variance = self.batch_statistics(x)
        y = (x - mean) * (variance + self.eps).rsqrt() * scale + shift
        return self._with_statistics(y, mean, variance)

    @property
    def is_affine(self) -> bool:
        return self.param.bn_mode == BNParameter.INFERENCE and len(self.layer_param.top) == 1

    def affine(self, *params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return params[0].flatten(), params[1].flatten()

    def _with_statistics(self, y: Tensor, *statistics: Tensor) -> Tensor | Sequence[Tensor]:
        count = len(self.layer_param.top) - 1
        shown = [s.detach().reshape(self.blob_shape()) for s in statistics[:count]]
        return [y, *shown] if shown else y

    def changed_parameters(self) -> Sequence[Tensor] | None:
        return None

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        return Layer.backward(self, diffs, tops, inputs, needs)
