"""Normalisation across the batch, and of single pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..phases import TEST
from ..proto.caffe_pb2 import (
    BatchNormParameter,
    FillerParameter,
    LayerParameter,
    MVNParameter,
    NormalizeParameter,
)
from ..pytorch import torch
from ..weights.layer_weights import WeightBlob, in_shapes
from .axes import four_axes
from .batch_statistics import normalized
from .layer import Changing, Layer, Parameter, Tensors, register
from .reach import Alignment, Reach, same_place
from .translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("BatchNorm")
class BatchNorm(Layer[BatchNormParameter]):
    """top = (x - mean) / sqrt(variance + eps), by channel (Ioffe and Szegedy, 2015).

    With use_global_stats (the default at TEST) mean and variance are the sums in blobs 0 and 1,
    divided by blob 2. Otherwise they are the batch's own, and are added to these sums, which
    first lose a part: each is multiplied by moving_average_fraction.
    """

    message = "batch_norm_param"
    family = "normalization"
    pointwise = True
    keeps_bottom = True
    backward_uses_record = True
    ignores_propagate_down = True
    differences = "add_eps_before_sqrt, update_global_stats and scale_bias of the forks"
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        param = layer_param.batch_norm_param
        if has_scale_bias(layer_param):
            return ScaledBatchNorm
        plain = param.add_eps_before_sqrt and param.update_global_stats
        return cls if plain else ForkBatchNorm

    def setup(self, *bottoms: Shape) -> None:
        self.use_global_stats = (
            self.param.use_global_stats
            if self.param.HasField("use_global_stats")
            else self.phase == TEST or self.layer_param.freeze
        )
        self.channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
        specs = self.layer_param.param
        if any(spec.lr_mult != 0 for spec in specs if spec.HasField("lr_mult")) or any(
            not spec.HasField("lr_mult") for spec in specs
        ):
            raise NetError("BatchNorm's blobs are statistics, not learned: their lr_mult must be 0")
        while len(specs) < 3:
            specs.add(lr_mult=0)

    @property
    def is_pure(self) -> bool:
        return self.use_global_stats

    @property
    def repeats(self) -> bool:
        return True

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return [Parameter((self.channels,)), Parameter((self.channels,)), Parameter((1,))]

    @property
    def statistics(self) -> int:
        return sum(blob.count for blob in self.blobs[:3])

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if not bottoms[0]:
            raise ShapeError("statistics are of a batch, but the bottom has no axes")
        channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
        if channels != self.channels:
            raise ShapeError(
                f"the bottom now has {channels} channels, but the statistics are of {self.channels}"
            )
        return [bottoms[0]]

    def forward(self, x: Tensor, mean_sum: Tensor, variance_sum: Tensor, factor: Tensor) -> Tensor:
        if self.takes_scale(x.shape):
            return self.forward_scaled(x, mean_sum, variance_sum, factor)
        by_channel = x.reshape(x.shape[0], self.channels, -1)
        if self.use_global_stats:
            scale = self.share(factor)
            mean, variance = mean_sum * scale, variance_sum * scale
        else:
            mean = by_channel.mean((0, 2))
            variance = (by_channel - mean[:, None]).square().mean((0, 2))
            self._note(x, mean, variance, (mean_sum, variance_sum, factor))
        inverse = self.inverse(variance)
        return ((by_channel - mean[:, None]) * inverse[:, None]).view(x.shape)

    def takes_scale(self, bottom: Shape) -> bool:
        # A channel of one number has no variance, and its own rule.
        is_many = len(bottom) > 1 and math.prod(bottom) > self.channels
        return is_many and not self.use_global_stats

    def forward_scaled(
        self,
        x: Tensor,
        mean_sum: Tensor,
        variance_sum: Tensor,
        factor: Tensor,
        scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        y, mean, unbiased = normalized(x, scale, bias, self.param.eps)
        self._add_up(mean, unbiased, (mean_sum, variance_sum, factor))
        return y

    @property
    def is_affine(self) -> bool:
        return self.use_global_stats

    def affine(self, *params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        mean_sum, variance_sum, total = params
        scale = self.share(total)
        factor = self.inverse(variance_sum * scale)
        return factor, -mean_sum * scale * factor

    def share(self, total: Tensor) -> Tensor:
        """Return what blobs 0 and 1 are multiplied by to be mean and variance."""
        return torch.where(total == 0, torch.zeros_like(total), 1 / total)

    def inverse(self, variance: Tensor) -> Tensor:
        """Return what the differences from the mean are multiplied by."""
        return (variance + self.param.eps).rsqrt()

    def _note(self, x: Tensor, mean: Tensor, variance: Tensor, sums: Sequence[Tensor]) -> None:
        m = x.numel() // self.channels
        self._add_up(mean, variance * (m / (m - 1) if m > 1 else 1), sums)

    def _add_up(self, mean: Tensor, unbiased: Tensor, sums: Sequence[Tensor]) -> None:
        self.found = mean.detach(), unbiased.detach()
        self.sums = [total.detach() for total in sums]

    def changed_parameters(self) -> Sequence[Tensor] | None:
        return None if self.use_global_stats else added_up([self])[0]

    def changes_with(self) -> Changing | None:
        return None if self.use_global_stats else added_up

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        # The statistics have no gradient of their own, whatever force_backward says.
        return super().backward(diffs, tops, inputs, [needs[0], False, False, False])


def added_up(layers: Sequence[Any]) -> Sequence[Tensors]:
    """Return the new sums of each of some BatchNorms, by a few operations for all of them."""
    with torch.no_grad():
        shares = [layer.param.moving_average_fraction for layer in layers for _ in range(3)]
        sums = torch._foreach_mul([total for layer in layers for total in layer.sums], shares)
        own = [sums[start : start + 3] for start in range(0, len(sums), 3)]
        found = [value for layer in layers for value in layer.found]
        torch._foreach_add_([total for three in own for total in three[:2]], found)
        torch._foreach_add_([count for *_, count in own], 1.0)
    return own


class ForkBatchNorm(BatchNorm):
    """BatchNorm with Synopsys' fields: eps outside the root, statistics that stay."""

    is_affine = BatchNorm.is_affine
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    def inverse(self, variance: Tensor) -> Tensor:
        if self.param.add_eps_before_sqrt:
            return super().inverse(variance)
        return 1 / (variance.sqrt() + self.param.eps)

    def changed_parameters(self) -> Sequence[Tensor] | None:
        return super().changed_parameters() if self.param.update_global_stats else None

    def changes_with(self) -> Changing | None:
        return super().changes_with() if self.param.update_global_stats else None


def has_scale_bias(layer_param: LayerParameter) -> bool:
    """Whether a BatchNorm has a factor and a summand of its own, as in NVIDIA's fork."""
    param = layer_param.batch_norm_param
    return param.scale_bias or param.HasField("scale_filler") or param.HasField("bias_filler")


class ScaledBatchNorm(ForkBatchNorm):
    """BatchNorm and Scale in one, with five blobs (NVIDIA): the last are scale and bias.

    Blobs 0 and 1 are running means, not sums: a batch's statistics take the place of the part
    that moving_average_fraction leaves. Blob 2 is reserved there, and divides nothing, whatever a
    file has in it. Files of its older versions have scale and bias first, and what is reserved
    last.
    """

    is_affine = BatchNorm.is_affine
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True
    # The first batches count otherwise.
    trains_unseen = False

    def setup(self, *bottoms: Shape) -> None:
        specs = self.layer_param.param
        while len(specs) < 3:
            specs.add()
        for spec in specs[:3]:
            spec.lr_mult = spec.decay_mult = 0
        learned = list(specs[3:])
        del specs[3:]
        super().setup(*bottoms)
        specs.extend(learned)
        self._batches = 0

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        one = FillerParameter(type="constant", value=1)
        scale = self.param.scale_filler if self.param.HasField("scale_filler") else one
        bias = self.param.bias_filler if self.param.HasField("bias_filler") else None
        shape = (self.channels,)
        return [
            Parameter(shape),
            Parameter(shape),
            Parameter((1,), one),
            Parameter(shape, scale),
            Parameter(shape, bias),
        ]

    def share(self, total: Tensor) -> Tensor:
        return torch.ones_like(total)

    def adjust_trained(self, blobs: Sequence[WeightBlob]) -> Sequence[WeightBlob]:
        # With one channel the two orders look alike; the newer one is taken.
        if len(blobs) == 5 and blobs[2].data.size != 1 == blobs[4].data.size:
            blobs = [*blobs[2:], *blobs[:2]]
        return in_shapes(blobs, [blob.shape for blob in self.blobs])

    def forward(self, x: Tensor, *params: Tensor) -> Tensor:
        *statistics, scale, bias = params
        y = super().forward(x, *statistics)
        across = (-1, *[1] * (x.dim() - 2)) if x.dim() > 1 else (-1,)
        return y * scale.view(across) + bias.view(across)

    def affine(self, *params: Tensor) -> tuple[Tensor | None, Tensor | None]:
        factor, summand = super().affine(*params[:3])
        return factor * params[3], summand * params[3] + params[4]  # type: ignore[operator]

    def _note(self, x: Tensor, mean: Tensor, variance: Tensor, sums: Sequence[Tensor]) -> None:
        if self.runs_again:
            return
        kept = self.param.moving_average_fraction if self._batches > 1 else 0
        self._batches += 1
        self._sums = [
            (1 - kept) * mean.detach() + kept * sums[0].detach(),
            (1 - kept) * variance.detach() + kept * sums[1].detach(),
            sums[2].detach(),
        ]

    def changed_parameters(self) -> Sequence[Tensor] | None:
        changes = self.param.update_global_stats and not self.use_global_stats
        return self._sums if changes else None

    def changes_with(self) -> Changing | None:
        return None

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        needed = [needs[0], False, False, False, *needs[4:]]
        return Layer.backward(self, diffs, tops, inputs, needed)


@register("MVN")
class MVN(Layer[MVNParameter]):
    """top = (x - mean) / (deviation + eps), by channel or (across_channels) by picture.

    The top has four axes (number, channels, height, width), also where the bottom has fewer.
    """

    message = "mvn_param"
    family = "normalization"
    alignment = Alignment.KEPT
    keeps_bottom = True
    ignores_propagate_down = True
    asks_no_values = True

    @property
    def stays_finite(self) -> bool:
        return self.param.eps > 0 or not self.param.normalize_variance

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return [four_axes(bottoms[0])]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        return [Reach(None)] * (len(bottom) - 2)

    def _rows(self, x: Tensor) -> Tensor:
        lead = 1 if self.param.across_channels else 2
        return x.reshape(math.prod(x.shape[:lead]), -1)

    def _deviation(self, rows: Tensor) -> Tensor:
        centred = rows - rows.mean(1, keepdim=True)
        return centred.square().mean(1, keepdim=True).sqrt() + self.param.eps

    def forward(self, x: Tensor) -> Tensor:
        rows = self._rows(x)
        y = rows - rows.mean(1, keepdim=True)
        if self.param.normalize_variance:
            y = y / self._deviation(rows)
        return y.view(four_axes(tuple(x.shape)))

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # Caffe takes eps as part of the deviation, which also spares a constant row's 0 / 0.
        d, y = self._rows(diffs[0]), self._rows(tops[0])
        gradient = d - d.mean(1, keepdim=True)
        if self.param.normalize_variance:
            gradient = gradient - y * (d * y).mean(1, keepdim=True)
            gradient = gradient / self._deviation(self._rows(inputs[0]))
        return [gradient.view(inputs[0].shape)]


@register("Normalize", "NormalizeBBox")
class Normalize(Layer[NormalizeParameter]):
    """top = scale * x / sqrt(sum of x**2 + eps), over the channels of each place (SSD).

    With across_spatial the sum goes over the whole picture. scale is learned: one factor for
    each channel, or (channel_shared) one for all (Liu et al., 2015).
    """

    message = "norm_param"
    family = "normalization"
    alignment = Alignment.KEPT
    keeps_bottom = True
    asks_no_values = True

    def setup(self, *bottoms: Shape) -> None:
        if len(bottoms[0]) < 2:
            raise ShapeError(f"the bottom must have 2 axes or more, not the shape {bottoms[0]}")
        self.channels = bottoms[0][1]
        if self.layer_param.HasField("normalize_bbox_param"):
            self.param = self.layer_param.normalize_bbox_param

    @property
    def stays_finite(self) -> bool:
        return self.param.eps > 0

    def adjust_trained(self, blobs: Sequence[WeightBlob]) -> Sequence[WeightBlob]:
        return in_shapes(blobs, [blob.shape for blob in self.blobs])

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        filler = FillerParameter(type="constant", value=1)
        if self.param.HasField("scale_filler"):
            filler = self.param.scale_filler
        return [Parameter(() if self.param.channel_shared else (self.channels,), filler)]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if len(bottoms[0]) < 2 or (
            bottoms[0][1] != self.channels and not self.param.channel_shared
        ):
            raise ShapeError(
                f"the bottom now has the shape {bottoms[0]}, but there are factors for "
                f"{self.channels} channels"
            )
        return [bottoms[0]]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        if self.param.across_spatial:
            return [Reach(None)] * (len(bottom) - 2)
        return same_place(bottom)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        axes = tuple(range(1, x.dim())) if self.param.across_spatial else (1,)
        length = (x.square().sum(axes, keepdim=True) + self.param.eps).sqrt()
        return x / length * scale.view(-1, *[1] * (x.dim() - 2))


@openvino.rule(Normalize)
def _normalize(layer: Normalize, graph: Graph, x: Value) -> Value:
    axes = len(graph.shape(x))
    summed = range(1, axes) if layer.param.across_spatial else [1]
    y = graph.ops.normalize_l2(x, graph.integers(summed), layer.param.eps, "add")
    return graph.ops.multiply(y, graph.parameter(layer, 0, (1, -1, *[1] * (axes - 2))))
