"""Layers that look maps up between places: spatial transformers and deformable convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import (
    DeformableConvolutionParameter,
    LayerParameter,
    SpatialTransformerParameter,
)
from ..pytorch import F, torch
from .axes import picture_size
from .convolution import Convolution
from .layer import Layer, Parameter, register

if TYPE_CHECKING:
    from torch import Tensor


def look_up(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate maps (N, C, H, W) at points (N, P), zero outside: (N, C, P)."""
    height, width = x.shape[2:]
    flat = x.flatten(2)
    top, left = rows.detach().floor(), columns.detach().floor()
    result = x.new_zeros(*x.shape[:2], rows.shape[1])
    for row, share_y in ((top, top + 1 - rows), (top + 1, rows - top)):
        for column, share_x in ((left, left + 1 - columns), (left + 1, columns - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            values = flat.gather(2, place[:, None].expand(-1, x.shape[1], -1))
            result = result + values * (share_y * share_x * inside)[:, None]
    return result


def _within(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Interpolate where points are inside, those past the last place having its value."""
    height, width = x.shape[2:]
    inside = (rows >= 0) & (columns >= 0) & (rows < height) & (columns < width)
    values = look_up(x, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return values * inside[:, None]


@register("SpatialTransformer")
class SpatialTransformer(Layer[SpatialTransformerParameter]):
    """The picture seen through an affine map: row and column -> (row, column, 1) theta^T.

    Rows and columns run from -1 to 1 (the last place lies a step before 1). theta (N, 6), the
    second bottom, is by rows; entries given as theta_1_1 to theta_2_3 are left out of it. Points
    outside count as 0 (Jaderberg et al., 2015).
    """

    message = "st_param"
    bottoms = 2
    differences = "of the forks"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if param.transform_type != "affine" or param.sampler_type != "bilinear":
            raise NetError("transform_type must be affine, and sampler_type bilinear")
        names = [f"theta_{i}_{j}" for i in (1, 2) for j in (1, 2, 3)]
        self._fixed = {n: getattr(param, f) for n, f in enumerate(names) if param.HasField(f)}
        if not param.to_compute_dU:
            self.no_gradient_for = frozenset({0})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        wanted = 6 - len(self._fixed)
        if bottoms[1][0] != bottoms[0][0] or torch.Size(bottoms[1][1:]).numel() != wanted:
            raise ShapeError(
                f"theta must have {wanted} numbers for each of {bottoms[0][0]} pictures, but its "
                f"shape is {bottoms[1]}"
            )
        size = self.param.output_H or height, self.param.output_W or width
        return [(*bottoms[0][:2], *size)]

    def forward(self, x: Tensor, theta: Tensor) -> Tensor:
        n, channels, height, width = self.top_shapes(tuple(x.shape), tuple(theta.shape))[0]
        given = iter(theta.reshape(n, -1).T)
        entries = [
            theta.new_full((n,), self._fixed[i]) if i in self._fixed else next(given)
            for i in range(6)
        ]
        matrix = torch.stack(entries, 1).view(n, 2, 3)
        row = torch.arange(height).to(x) / height * 2 - 1
        column = torch.arange(width).to(x) / width * 2 - 1
        y, z = torch.meshgrid(row, column, indexing="ij")
        points = torch.stack([y, z, torch.ones_like(y)], -1).view(-1, 3)
        there = points @ matrix.transpose(1, 2)
        rows = (there[..., 0] + 1) / 2 * x.shape[2]
        columns = (there[..., 1] + 1) / 2 * x.shape[3]
        return look_up(x, rows, columns).view(n, channels, height, width)


@register("DeformableConvolution")
class DeformableConvolution(Convolution[DeformableConvolutionParameter]):
    """A Convolution each tap of which is moved by the second bottom (Dai et al., 2017).

    Offsets (N, 2 * taps * deformable_group, out height, out width): for each group of channels
    and each tap how far down, then how far to the right. Places outside count as 0.
    """

    message = "deformable_convolution_param"
    bottoms = 2
    tops = 1
    equal_tops = False
    differences = "of the forks"

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        return cls

    def _read_holes(self, axes: int) -> None:
        groups = self.param.deformable_group
        if axes != 2 or groups < 1 or self.channels % groups:
            raise NetError(
                f"two axes to slide over are needed, and channels ({self.channels}) that are a "
                f"multiple of deformable_group ({groups})"
            )

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return super().parameters(bottoms[0])

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        (shape,) = super().top_shapes(bottoms[0])
        taps = self.kernel[0] * self.kernel[1] * self.param.deformable_group
        if bottoms[1] != (bottoms[0][0], 2 * taps, *shape[2:]):
            raise ShapeError(
                f"the offsets must have the shape {(bottoms[0][0], 2 * taps, *shape[2:])}, not "
                f"{bottoms[1]}"
            )
        return [shape]

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        x, offsets, weight = inputs[:3]
        bias = inputs[3] if self.param.bias_term else None
        num, group = len(x), self.param.deformable_group
        high, wide = offsets.shape[2:]
        moves = offsets.reshape(num * group, -1, 2, high, wide)
        maps = x.reshape(num * group, -1, *x.shape[2:])
        y = (torch.arange(high).to(x) * self.stride[0] - self.pad[0])[:, None]
        z = torch.arange(wide).to(x) * self.stride[1] - self.pad[1]
        seen = []
        for tap in range(self.kernel[0] * self.kernel[1]):
            down, right = divmod(tap, self.kernel[1])
            rows = y + down * self.dilation[0] + moves[:, tap, 0]
            columns = z + right * self.dilation[1] + moves[:, tap, 1]
            seen.append(_within(maps, rows.flatten(1), columns.flatten(1)))
        # (num, channels, taps, places), channels as in the bottom.
        columns = torch.stack(seen, 2).reshape(num, self.channels * len(seen), high, wide)
        flat = weight.reshape(len(weight), -1, 1, 1)
        return [F.conv2d(columns, flat, bias, groups=self.param.group)]
