"""FlowNet's layers: what fits where in two pictures, and a picture moved along a flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import CorrelationParameter, FlowWarpParameter
from ..pytorch import F, torch
from .axes import picture_size
from .layer import Layer, register
from .reach import Reach

if TYPE_CHECKING:
    from torch import Tensor


class Displaced(Layer[CorrelationParameter]):
    """Compares each patch of the first bottom with patches of the second, displaced."""

    message = "correlation_param"
    bottoms = 2
    differences = "of the forks"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if not param.HasField("max_displacement") or param.kernel_size % 2 == 0:
            raise NetError("kernel_size (odd) and max_displacement must be given")
        if param.stride_1 < 1 or param.stride_2 < 1:
            raise NetError("stride_1 and stride_2 must be at least 1")

    def displacements(self) -> list[tuple[int, int]]:
        """Return (downwards, to the right) for each channel of the top."""
        raise NotImplementedError

    def margins(self) -> tuple[int, int]:
        """Return the border that no patch has its middle in, above and at the left."""
        raise NotImplementedError

    def pads(self) -> tuple[int, int]:
        """Return the padding above and below, and at the left and right."""
        raise NotImplementedError

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        if bottoms[0] != bottoms[1]:
            raise ShapeError(f"both bottoms must have the same shape, but they are {bottoms}")
        sides = zip((height, width), self.pads(), self.margins(), strict=True)
        size = [math.ceil((n + 2 * p - 2 * m) / self.param.stride_1) for n, p, m in sides]
        if min(size) < 1:
            raise ShapeError(
                f"displacements and kernel do not fit into bottoms of shape {bottoms[0]}"
            )
        return [(bottoms[0][0], len(self.displacements()), *size)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        kernel, stride = self.param.kernel_size, self.param.stride_1
        furthest = max(max(map(abs, pair)) for pair in self.displacements())
        return [
            Reach(kernel + 2 * furthest, Fraction(stride), Fraction(m - kernel // 2 - furthest - p))
            for m, p in zip(self.margins(), self.pads(), strict=True)
        ]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        _, _, height, width = self.top_shapes(tuple(a.shape), tuple(b.shape))[0]
        kernel, stride = self.param.kernel_size, self.param.stride_1
        down, right = self.pads()
        first, second = (F.pad(x, (right, right, down, down)) for x in (a, b))
        # Displacements that reach past the padding see zeros.
        beyond = max(0, *(abs(dx) for _, dx in self.displacements())) - self.param.max_displacement
        beyond = max(0, beyond)
        second = F.pad(second, (beyond, beyond))
        # The patch's first row and column where nothing is displaced.
        top, left = (margin - kernel // 2 for margin in self.margins())
        rows, columns = ((n - 1) * stride + kernel for n in (height, width))
        seen = first[:, :, top : top + rows, left : left + columns]
        maps = []
        for dy, dx in self.displacements():
            start = left + beyond + dx
            other = second[:, :, top + dy : top + dy + rows, start : start + columns]
            if self.param.correlation_type == CorrelationParameter.SUBTRACT:
                products = (seen - other).abs()
            else:
                products = seen * other
            maps.append(F.avg_pool2d(products.mean(1, keepdim=True), kernel, stride))
        return torch.cat(maps, 1)

    def steps(self) -> range:
        """Return the displacements along one axis."""
        reach = self.param.max_displacement // self.param.stride_2
        return range(
            -reach * self.param.stride_2, reach * self.param.stride_2 + 1, self.param.stride_2
        )


@register("Correlation")
class Correlation(Displaced):
    """The mean product (or distance) of patches, for each displacement (Fischer et al., 2015).

    A top's channel is a displacement, those to the right changing fastest. Patches are
    kernel_size wide, stride_1 apart; displacements are up to max_displacement, stride_2 apart.
    """

    def displacements(self) -> list[tuple[int, int]]:
        return [(dy, dx) for dy in self.steps() for dx in self.steps()]

    def margins(self) -> tuple[int, int]:
        margin = self.param.max_displacement + self.param.kernel_size // 2
        return margin, margin

    def pads(self) -> tuple[int, int]:
        return self.param.pad, self.param.pad


@register("Correlation1D")
class Correlation1D(Displaced):
    """Correlation with displacements to the left and right only (DispNet, Mayer et al., 2016).

    single_direction -1 takes those to the left alone, 1 those to the right; padding is put on at
    the left and right only.
    """

    def setup(self, *bottoms: Shape) -> None:
        super().setup(*bottoms)
        if self.param.single_direction not in (-1, 0, 1):
            raise NetError(
                f"single_direction must be -1, 0 or 1, not {self.param.single_direction}"
            )

    def displacements(self) -> list[tuple[int, int]]:
        reach = self.param.max_displacement // self.param.stride_2
        # The original's left side begins one step farther out, and leaves out 0.
        first, count = {-1: (-reach - 1, reach + 1), 0: (-reach, 2 * reach + 1), 1: (0, reach + 1)}[
            self.param.single_direction
        ]
        return [(0, (first + i) * self.param.stride_2) for i in range(count)]

    def margins(self) -> tuple[int, int]:
        radius = self.param.kernel_size // 2
        return radius, self.param.max_displacement + radius

    def pads(self) -> tuple[int, int]:
        return 0, self.param.pad


@register("FlowWarp")
class FlowWarp(Layer[FlowWarpParameter]):
    """The picture where the flow points to: top(x, y) = bottom(x + u, y + v), bilinearly.

    Bottoms: a picture (N, C, H, W), and a flow (N, 2, H, W) of u and v. Where it points outside,
    the top is 0 or not a number (Ilg et al., 2017).
    """

    message = "flow_warp_param"
    bottoms = 2
    differences = "of the forks"
    forbids_in_place = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        height, width = picture_size(bottoms[0])
        if bottoms[1] != (bottoms[0][0], 2, height, width):
            raise ShapeError(
                f"a picture of shape {bottoms[0]} needs a flow of shape "
                f"{(bottoms[0][0], 2, height, width)}, not {bottoms[1]}"
            )
        return [bottoms[0]]

    def forward(self, x: Tensor, flow: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        u = flow[:, 0] + torch.arange(width).to(x)
        v = flow[:, 1] + torch.arange(height).to(x)[:, None]
        inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
        left = torch.where(inside, u, 0).detach().floor()
        top = torch.where(inside, v, 0).detach().floor()
        alpha, beta = (u - left)[:, None], (v - top)[:, None]
        right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)

        def at(row: Tensor, column: Tensor) -> Tensor:
            places = (row * width + column).long().view(n, 1, -1).expand(-1, channels, -1)
            return x.flatten(2).gather(2, places).view_as(x)

        upper = (1 - alpha) * at(top, left) + alpha * at(top, right)
        lower = (1 - alpha) * at(bottom, left) + alpha * at(bottom, right)
        warped = (1 - beta) * upper + beta * lower
        missing = math.nan if self.param.fill_value == FlowWarpParameter.NOT_A_NUMBER else 0.0
        return torch.where(inside[:, None], warped, missing)
