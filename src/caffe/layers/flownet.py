"""FlowNet 2's layers around its nets: pictures resized, less their mean, and how long flows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CaffeError, NetError, ShapeError
from ..memory.blob import Shape
from ..phases import TRAIN
from ..proto.caffe_pb2 import (
    AugmentationParameter,
    LpqLossParameter,
    MeanParameter,
    ResampleParameter,
)
from ..pytorch import torch
from ..weights.layer_weights import WeightBlob
from .axes import picture_size
from .layer import Layer, Parameter, register
from .loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


@register("ChannelNorm")
class ChannelNorm(Layer):
    """top = sqrt(sum of x**2 over the channels), of shape (N, 1, H, W) (Ilg et al., 2017)."""

    differences = "of the forks"
    forbids_in_place = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        return [(bottoms[0][0], 1, height, width)]

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum(1, keepdim=True).sqrt()

    def backward(
        self,
        diffs: Sequence[Tensor],
        tops: Sequence[Tensor],
        inputs: Sequence[Tensor],
        needs: Sequence[bool],
    ) -> Sequence[Tensor]:
        # Where all channels are 0 there is a gradient of 0.
        return [diffs[0] * inputs[0] / (tops[0] + 1e-9)]


@register("Resample")
class Resample(Layer[ResampleParameter]):
    """Pictures in another size: width and height, the second bottom's, or by a factor.

    LINEAR and CUBIC take means over twice and four times as many places around, wider ones where
    the picture is made smaller (`antialias`); NEAREST takes one place (FlowNet 2).
    """

    message = "resample_param"
    family = "resizing"
    bottoms = (1, 2)
    has_gradient = False
    no_gradient_for = frozenset({0, 1})
    differences = "of the forks"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        if self.param.type == ResampleParameter.AREA:
            raise NetError("the type AREA was never made; take NEAREST, LINEAR or CUBIC")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        if len(bottoms) == 2:
            size = picture_size(bottoms[1])
        elif self.param.HasField("factor"):
            size = int(height * self.param.factor), int(width * self.param.factor)
        else:
            size = self.param.height, self.param.width
        if min(size) < 1:
            raise ShapeError(
                f"a bottom of shape {bottoms[0]} would be brought to {size} (height, width); give "
                "width and height, a factor, or a second bottom"
            )
        return [(*bottoms[0][:2], *size)]

    def forward(self, x: Tensor, *like: Tensor) -> Tensor:
        shape = self.top_shapes(tuple(x.shape), *(tuple(y.shape) for y in like))[0]
        points, steps = self.points(tuple(x.shape[2:]), shape[2:])
        if self.param.type == ResampleParameter.NEAREST:
            rows, columns = (
                torch.from_numpy(np.clip(rounded(p), 0, n - 1)).to(x.device)
                for p, n in zip(points, x.shape[2:], strict=True)
            )
            return x[:, :, rows[:, None], columns]
        smaller = max(steps) > 1 and self.param.antialias
        high, wide = (
            torch.from_numpy(self._weights(p, n, s, smaller)).to(x)
            for p, n, s in zip(points, x.shape[2:], steps, strict=True)
        )
        y = high @ x @ wide.T
        total = high.sum(1)[:, None] * wide.sum(1)
        return torch.where(total == 0, torch.zeros_like(y), y / total)

    def points(self, old: Shape, new: Shape) -> tuple[list[np.ndarray], list[float]]:
        """Return where the top's rows and columns lie in the bottom, and how far apart."""
        steps = [before / after for before, after in zip(old, new, strict=True)]
        points = []
        for axis in (0, 1):
            # The original's half step is that of the other axis.
            index = np.arange(new[axis], dtype=np.float32)
            points.append(index * np.float32(steps[axis]) + np.float32(steps[1 - axis] / 2 - 0.5))
        return points, steps

    def _weights(self, points: np.ndarray, size: int, step: float, smaller: bool) -> np.ndarray:
        """What each place counts for at each point, (points, size)."""
        cubic = self.param.type == ResampleParameter.CUBIC
        stretch = 1 / step if smaller else 1.0
        reach = 2 if step < 1 else int(np.ceil((4 if cubic else 2) / np.float32(stretch)))
        places = np.arange(size)
        near = np.abs(places - rounded(points)[:, None]) <= reach
        d = np.abs((points[:, None] - places) * np.float32(stretch))
        if cubic:
            inner = d * d * (1.5 * d - 2.5) + 1
            outer = d * (d * (-0.5 * d + 2.5) - 4) + 2
            weights = np.where(d <= 1, inner, np.where(d < 2, outer, 0))
        else:
            weights = np.clip(1 - d, 0, None)
        return np.where(near, weights, 0).astype(np.float32)


def rounded(points: np.ndarray) -> np.ndarray:
    return np.asarray(np.trunc(points + np.copysign(0.5, points)), dtype=np.int64)


@register("Mean")
class Mean(Layer[MeanParameter]):
    """top = output_scale * (input_scale * x + or - mean_scale * value), by channel (FlowNet 2)."""

    message = "mean_param"
    differences = "of the forks; `value` only, no `file`"

    def setup(self, *bottoms: Shape) -> None:
        if self.param.HasField("file"):
            raise NetError("mean_param takes `value` here, not `file`")
        if len(self.param.value) not in (1, *bottoms[0][1:2]):
            raise NetError(
                f"mean_param needs one value, or one for each channel of a bottom of shape "
                f"{bottoms[0]}, not {len(self.param.value)}"
            )

    def forward(self, x: Tensor) -> Tensor:
        param = self.param
        sign = 1 if param.operation == MeanParameter.ADD else -1
        mean = x.new_tensor(list(param.value)).view(-1, *[1] * (x.dim() - 2))
        return param.output_scale * (param.input_scale * x + sign * param.mean_scale * mean)


@register("DataAugmentation")
class DataAugmentation(Layer[AugmentationParameter]):
    """Pictures less their mean, and cut to crop_height x crop_width (FlowNet 2's, at TEST).

    The mean is `mean`, or with recompute_mean a parameter: the weights hold how many pictures were
    seen, the mean by place (mean_per_pixel) and the mean by channel.
    """

    message = "augmentation_param"
    has_gradient = False
    no_gradient_for = frozenset({0, 1})
    bottoms = (1, 2)
    differences = "of the forks; at TEST only, and without augment_during_test"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        if self.phase == TRAIN or self.param.augment_during_test:
            raise NetError(
                "pictures are not disturbed here: DataAugmentation runs at TEST only, and without "
                "augment_during_test"
            )
        if len(self.layer_param.top) > 1:
            raise NetError("DataAugmentation has one top here: nothing is drawn that others need")
        wanted = (1, *bottoms[0][1:2])
        if not self.param.recompute_mean and len(self.param.mean) not in (0, *wanted):
            raise NetError(f"give a mean for each channel of a bottom of shape {bottoms[0]}")

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        if not self.param.recompute_mean:
            return [Parameter((1, 1, 1, 1))]
        channels = bottoms[0][1]
        by_place = (1, channels, *self._size(bottoms[0]))
        return [Parameter((1, 1, 1, 1)), Parameter(by_place), Parameter((1, channels, 1, 1))]

    def adjust_trained(self, blobs: Sequence[WeightBlob]) -> Sequence[WeightBlob]:
        # A mean by place of another size is replaced by that of each channel.
        if len(blobs) != 3 or len(self.blobs) != 3 or blobs[1].shape == self.blobs[1].shape:
            return blobs
        own = self.blobs[1].shape
        if len(blobs[1].shape) != 4 or blobs[1].shape[1] != own[1]:
            return blobs
        means = np.asarray(blobs[1].data, np.float32).reshape(own[1], -1).mean(1)
        if not self.param.mean_per_pixel:
            means = np.asarray(blobs[2].data, np.float32).reshape(-1)
        spread = np.broadcast_to(means.reshape(1, -1, 1, 1), own)
        return [blobs[0], WeightBlob(own, spread.ravel()), blobs[2]]

    def _size(self, shape: Shape) -> tuple[int, int]:
        height, width = picture_size(shape)
        if self.param.HasField("crop_width") and self.param.HasField("crop_height"):
            if self.param.crop_width > width or self.param.crop_height > height:
                raise ShapeError(
                    f"the crop {(self.param.crop_height, self.param.crop_width)} is larger than "
                    f"the bottom's {(height, width)} (height, width)"
                )
            return self.param.crop_height, self.param.crop_width
        return height, width

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return [(*bottoms[0][:2], *self._size(bottoms[0]))]

    def forward(self, *inputs: Tensor) -> Tensor:
        x = inputs[0]
        height, width = self._size(tuple(x.shape))
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        x = x[:, :, top : top + height, left : left + width]
        if self.param.recompute_mean:
            mean = inputs[-2] if self.param.mean_per_pixel else inputs[-1]
            if mean.shape[2:] not in ((1, 1), x.shape[2:]):
                raise CaffeError(f"the mean is {tuple(mean.shape)}, the picture {tuple(x.shape)}")
            return x - mean
        if self.param.mean and not self.param.mean_per_pixel:
            return x - x.new_tensor(list(self.param.mean)).view(-1, 1, 1)
        return x.clone()


@register("LpqLoss")
class LpqLoss(Loss[LpqLossParameter]):
    """top = sum over places of (sum over channels of abs(a - b)^p + q_epsilon)^q / N.

    Places of NaN count nothing. One bottom is a difference itself (FlowNet 2).
    """

    message = "lpq_loss_param"
    bottoms = (1, 2)
    no_gradient_for = frozenset()
    differences = "of the forks; one p and one q"

    def setup(self, *bottoms: Shape) -> None:
        if len(self.param.p) != 1 or len(self.param.q) != 1:
            raise NetError("lpq_loss_param takes one p and one q here")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        if any(shape != bottoms[0] for shape in bottoms) or len(bottoms[0]) < 2:
            raise ShapeError(f"both bottoms must have the same shape, but they are {bottoms}")
        return [()]

    def forward(self, a: Tensor, *b: Tensor) -> Tensor:
        param = self.param
        difference = a - b[0] if b else a
        counts = ~difference.isnan()
        difference = torch.where(counts, difference, torch.zeros_like(difference))
        powers = (difference.abs() + param.p_epsilon).pow(param.p[0])
        sums = torch.where(counts, powers, torch.zeros_like(powers)).sum(1)
        if param.l2_prescale_by_channels:
            sums = sums / a.shape[1]
        total: Tensor = (sums + param.q_epsilon).pow(param.q[0]).sum()
        if param.normalize_by_num_entries:
            return total / (counts.sum() / a.shape[1]).clamp(min=1)
        return total / len(a)
