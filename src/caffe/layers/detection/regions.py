"""Features of regions: a grid of bins laid over each region of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from ...errors import CaffeError, NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import (
    DeformablePSROIPoolingParameter,
    PSROIPoolingParameter,
    ROIAlignParameter,
    ROIPoolingParameter,
)
from ...pytorch import torch
from ..asking import is_any
from ..description import Count
from ..layer import Layer, register

if TYPE_CHECKING:
    from torch import Tensor

G = TypeVar("G", bound=ROIPoolingParameter | ROIAlignParameter)
"""The messages of layers with a grid of bins."""

R = TypeVar(
    "R",
    bound=ROIPoolingParameter
    | ROIAlignParameter
    | PSROIPoolingParameter
    | DeformablePSROIPoolingParameter,
)
"""The messages of layers on regions."""


class OfRegions(Layer[R]):
    """A layer on a map (N, C, H, W) and on regions (R, 5): which picture, x1, y1, x2, y2.

    Regions are in pixels of the picture; times `spatial_scale` they are in places of the map.
    """

    family = "pooling"
    bottoms: ClassVar[Count] = 2
    no_gradient_for = frozenset({1})

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        features, regions = bottoms
        if len(features) != 4:
            raise ShapeError(
                f"the map must have 4 axes (num, channels, height, width), not the shape {features}"
            )
        if regions[1:2] != (5,) or torch.Size(regions[2:]).numel() != 1:
            raise ShapeError(
                f"regions must be rows of 5 numbers (picture, x1, y1, x2, y2), but their shape is "
                f"{regions}"
            )
        return [(regions[0], *self.bins_of(features))]

    def bins_of(self, features: Shape) -> Shape:
        """Return channels, height and width of what a region gives."""
        raise NotImplementedError

    def read(self, features: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the picture's index of each region, int64, and the corners (R, 4) in pixels.

        Raises
        ------
        CaffeError
            There is no such picture, or the whole region lies off the map.
        """
        rows = regions.reshape(len(regions), 5).to(features.dtype)
        index = rows[:, 0].trunc()
        count, _, height, width = features.shape
        wrong = ~((index >= 0) & (index < count))
        if is_any(wrong):
            row = int(wrong.nonzero()[0])
            raise CaffeError(
                f"region {row} is of picture {float(rows[row, 0]):g}, but the map has {count}, "
                f"from 0 to {count - 1}"
            )
        corners = rows[:, 1:]
        scaled = corners * self.param.spatial_scale
        # A region at the very edge may round to just outside: its bins are then empty.
        inside = (scaled[:, :2] < scaled.new_tensor([width + 1, height + 1])).all(1)
        inside &= (scaled[:, 2:] > -1).all(1) & scaled.isfinite().all(1)
        if is_any(~inside):
            row = int((~inside).nonzero()[0])
            box = ", ".join(f"{value:g}" for value in corners[row].tolist())
            raise CaffeError(
                f"region {row} = ({box}) lies outside the map of {height} x {width} places "
                f"(spatial_scale is {self.param.spatial_scale:g})"
            )
        return index.long(), corners


class Grid(OfRegions[G]):
    """A layer of pooled_h x pooled_w bins for each region."""

    def setup(self, *bottoms: Shape) -> None:
        if self.param.pooled_h < 1 or self.param.pooled_w < 1:
            raise NetError(
                f"pooled_h and pooled_w must be positive, not {self.param.pooled_h} and "
                f"{self.param.pooled_w}"
            )

    def bins_of(self, features: Shape) -> Shape:
        return (features[1], self.param.pooled_h, self.param.pooled_w)


def rounded(x: Tensor) -> Tensor:
    """Round halves away from zero, as C does."""
    whole = x.trunc()
    return whole + x.sign() * ((x - whole).abs() >= 0.5)


def divided(x: Tensor, by: float) -> Tensor:
    """Return the quotients as C has them, from which places are counted.

    By a number of Python's a GPU would multiply with its reciprocal, which differs in the last bit.
    """
    return x / torch.full_like(x, by)


def bin_edges(start: Tensor, length: Tensor, bins: int, size: int) -> tuple[Tensor, Tensor]:
    """Return where bins begin and end, whole places within 0..size, each (R, bins)."""
    number = torch.arange(bins, dtype=start.dtype, device=start.device)
    step = divided(length, bins)[:, None]
    low = (number * step).floor() + start[:, None]
    high = ((number + 1) * step).ceil() + start[:, None]
    return low.clamp(0, size).long(), high.clamp(0, size).long()


@register("ROIPooling")
class ROIPooling(Grid[ROIPoolingParameter]):
    """The largest value in each of pooled_h x pooled_w bins of a region; 0 for an empty bin.

    Corners are rounded to places, bins to places that they touch (Girshick, Fast R-CNN, 2015).
    With pad_ratio a region first grows by this part of its size on each side, and is cut at the
    map's beginning (MS-CNN, Cascade R-CNN).
    """

    message = "roi_pooling_param"
    differences = "pad_ratio of the forks"

    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        index, corners = self.read(features, regions)
        height, width = features.shape[2:]
        places = self._places(corners, height, width)
        lengths = (places[:, 2:] - places[:, :2] + 1).clamp(min=1)
        columns = bin_edges(places[:, 0], lengths[:, 0], self.param.pooled_w, width)
        rows = bin_edges(places[:, 1], lengths[:, 1], self.param.pooled_h, height)
        # Python's numbers at once, not bin by bin; channels last, as they are all treated alike.
        x_edges = torch.stack(columns, -1).tolist()
        y_edges = torch.stack(rows, -1).tolist()
        maps = features.permute(0, 2, 3, 1).contiguous()
        tops = [
            _bin_maxima(maps[i], ys, xs)
            for i, ys, xs in zip(index.tolist(), y_edges, x_edges, strict=True)
        ]
        shape = (len(regions), *self.bins_of(tuple(features.shape)))
        return torch.stack(tops).permute(0, 3, 1, 2) if tops else features.new_zeros(shape)

    def _places(self, corners: Tensor, height: int, width: int) -> Tensor:
        """The corners in places of the map."""
        scale = self.param.spatial_scale
        if not self.param.HasField("pad_ratio"):
            return rounded(corners * scale)
        pad = (corners[:, 2:] - corners[:, :2] + 1) * self.param.pad_ratio
        start = rounded((corners[:, :2] - pad) * scale).clamp(min=0)
        # The original holds the end within the picture's pixels, though it is a place.
        last = rounded(divided(corners.new_tensor([width, height]), scale)) - 1
        return torch.cat([start, torch.minimum(rounded((corners[:, 2:] + pad) * scale), last)], 1)


def _bin_maxima(x: Tensor, y_edges: list[list[int]], x_edges: list[list[int]]) -> Tensor:
    """The largest values of a map (H, W, C) in each bin, (rows, columns, C); 0 in empty bins."""
    top, bottom = y_edges[0][0], max(y_edges[0][0], y_edges[-1][1])
    strips = _maxima(x[top:bottom], x_edges)
    return _maxima(strips, [[low - top, high - top] for low, high in y_edges])


def _maxima(x: Tensor, edges: list[list[int]]) -> Tensor:
    """The largest values of (A, B, C) along B between edges, (edges, A, C), 0 where none are."""
    # Of equal values max(), not amax(), lets the first alone have the gradient.
    largest = torch.amax if not torch.is_grad_enabled() else lambda y, axis: y.max(axis).values
    kept = [
        largest(x[:, low:high], 1) if high > low else x.new_zeros(len(x), x.shape[2])
        for low, high in edges
    ]
    return torch.stack(kept)


def bins_by_channel(channels: int, group: int, features: Shape) -> Shape:
    """Return channels, height and width of regions whose bins have channels of their own.

    Raises
    ------
    ShapeError
        The map has another number of channels.
    """
    if features[1] != channels * group * group:
        raise ShapeError(
            f"output_dim {channels} and group_size {group} need {channels * group * group} "
            f"channels, but the map has {features[1]}: its shape is {features}"
        )
    return channels, group, group


@register("PSROIPooling")
class PSROIPooling(OfRegions[PSROIPoolingParameter]):
    """The mean of each of group_size x group_size bins, each from a channel of its own.

    top[r, c, i, j] is the mean over bin (i, j) of channel (c * group_size + i) * group_size + j;
    0 for an empty bin (Dai et al., R-FCN, 2016).
    """

    message = "psroi_pooling_param"

    def setup(self, *bottoms: Shape) -> None:
        if self.param.output_dim < 1 or self.param.group_size < 1:
            raise NetError(
                f"output_dim and group_size must be positive, not {self.param.output_dim} and "
                f"{self.param.group_size}"
            )

    def bins_of(self, features: Shape) -> Shape:
        return bins_by_channel(self.param.output_dim, self.param.group_size, features)

    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        index, corners = self.read(features, regions)
        height, width = features.shape[2:]
        _, group, _ = self.bins_of(tuple(features.shape))
        scale = self.param.spatial_scale
        start = rounded(corners[:, :2]) * scale
        lengths = ((rounded(corners[:, 2:]) + 1) * scale - start).clamp(min=0.1)
        left, right = self._edges(start[:, 0], lengths[:, 0], width)
        upper, lower = self._edges(start[:, 1], lengths[:, 1], height)
        # Sums over rectangles are differences of sums from the corner on. Exact enough only in
        # double precision.
        sums = torch.nn.functional.pad(features.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
        sums = sums.view(len(features), -1, group, group, height + 1, width + 1)
        channel = torch.arange(sums.shape[1], device=features.device)[:, None, None]
        number = torch.arange(group, device=features.device)
        picture = index[:, None, None, None]
        row = number[:, None]

        def at(y: Tensor, x: Tensor) -> Tensor:
            return sums[picture, channel, row, number, y[:, None, :, None], x[:, None, None, :]]

        total = at(lower, right) - at(upper, right) - at(lower, left) + at(upper, left)
        area = (lower - upper)[:, :, None] * (right - left)[:, None, :]
        # Edges are in order, so that only empty bins have no area, and their sum is 0.
        return (total / area.clamp(min=1)[:, None]).to(features.dtype)

    def _edges(self, start: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Where bins that need not begin at whole places begin and end, each (R, bins)."""
        bins = self.param.group_size
        number = torch.arange(bins, dtype=start.dtype, device=start.device)
        step = divided(length, bins)[:, None]
        low = (number * step + start[:, None]).floor().clamp(0, size).long()
        high = ((number + 1) * step + start[:, None]).ceil().clamp(0, size).long()
        return low, torch.maximum(low, high)


@register("DeformablePSROIPooling")
class DeformablePSROIPooling(OfRegions[DeformablePSROIPoolingParameter]):
    """PSROIPooling by interpolated points, each bin moved by an offset (Dai et al., 2017).

    A third bottom (R, 2 K, part_size, part_size) holds for each of K classes how far bins move
    to the right and downwards, in trans_std of the region's sides; without it, or with no_trans,
    they stay. top[r, c, i, j] is the mean over sample_per_part^2 points of channel
    (c * group_size + i) * group_size + j, points half a place outside the map left out.
    """

    message = "deformable_psroi_pooling_param"
    bottoms = (2, 3)
    differences = "of the forks"

    def setup(self, *bottoms: Shape) -> None:
        for name in ("output_dim", "group_size", "part_size", "sample_per_part"):
            if getattr(self.param, name) < 1:
                raise NetError(f"{name} must be positive, not {getattr(self.param, name)}")
        self._moves = len(bottoms) > 2 and not self.param.no_trans

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms[:2])
        part = self.param.part_size
        if self._moves:
            offsets = bottoms[2]
            classes = offsets[1] // 2 if len(offsets) == 4 else 0
            if not classes or offsets != (bottoms[1][0], 2 * classes, part, part):
                raise ShapeError(
                    f"{bottoms[1][0]} regions need offsets of the shape ({bottoms[1][0]}, 2 K, "
                    f"{part}, {part}), not {offsets}"
                )
            if self.param.output_dim % classes:
                raise ShapeError(
                    f"output_dim {self.param.output_dim} does not divide by the offsets' {classes} "
                    "classes"
                )
        return shapes

    def bins_of(self, features: Shape) -> Shape:
        return bins_by_channel(self.param.output_dim, self.param.group_size, features)

    def forward(self, features: Tensor, regions: Tensor, *offsets: Tensor) -> Tensor:
        index, corners = self.read(features, regions)
        channels, group, _ = self.bins_of(tuple(features.shape))
        scale = self.param.spatial_scale
        start = rounded(corners[:, :2]) * scale - 0.5
        sides = ((rounded(corners[:, 2:]) + 1) * scale - 0.5 - start).clamp(min=0.1)
        samples = self.param.sample_per_part
        number = torch.arange(group, dtype=sides.dtype, device=sides.device)
        step = torch.arange(samples, dtype=sides.dtype, device=sides.device) / samples
        # (R, 1 or classes, bins, bins): how far each bin moves, in the region's sides.
        moved = self._moved(*offsets) if self._moves else sides.new_zeros(len(sides), 2, 1, 1, 1)
        points = []
        for axis in (0, 1):
            length = sides[:, axis].view(-1, 1, 1, 1, 1)
            bins = number.view(-1, 1) if axis else number
            place = start[:, axis].view(-1, 1, 1, 1, 1) + (
                (bins[..., None] + step) * length / group + moved[:, axis, ..., None] * length
            )
            points.append(place)
        x, y = points
        x, y = torch.broadcast_tensors(x[..., None, :], y[..., :, None])
        classes = moved.shape[2]
        maps = features.view(len(features), classes, -1, group, group, *features.shape[2:])
        return self._means(maps, index, x, y).reshape(len(regions), channels, group, group)

    def _moved(self, offsets: Tensor) -> Tensor:
        """How far each bin moves, (R, 2, classes, bins, bins), x first."""
        group, part = self.param.group_size, self.param.part_size
        which = torch.arange(group, device=offsets.device) * part // group
        own = offsets[:, :, which][:, :, :, which] * self.param.trans_std
        return own.view(len(offsets), -1, 2, group, group).transpose(1, 2)

    def _means(self, maps: Tensor, index: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Means over the points of each bin.

        Parameters
        ----------
        maps : Tensor
            (N, classes, channels of a class, bins, bins, H, W)
        index : Tensor
            The picture of each region, (R).
        x, y : Tensor
            Points in places of the map, (R, classes, bins, bins, samples, samples).
        """
        height, width = maps.shape[-2:]
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
        left, upper = x.floor(), y.floor()
        dx, dy = x - left, y - upper
        classes, group = maps.shape[1], maps.shape[3]
        each = torch.arange(classes, device=maps.device).view(-1, 1, 1, 1, 1)
        row = torch.arange(group, device=maps.device).view(-1, 1, 1, 1)
        column = torch.arange(group, device=maps.device).view(-1, 1, 1)
        # The channels come last.
        flat = maps.permute(0, 1, 3, 4, 5, 6, 2)
        picture = index.view(-1, 1, 1, 1, 1, 1)

        def at(v: Tensor, u: Tensor) -> Tensor:
            return flat[picture, each, row, column, v.long(), u.long()]

        right, lower = x.ceil(), y.ceil()
        values = (
            at(upper, left) * ((1 - dx) * (1 - dy))[..., None]
            + at(lower, left) * ((1 - dx) * dy)[..., None]
            + at(upper, right) * (dx * (1 - dy))[..., None]
            + at(lower, right) * (dx * dy)[..., None]
        )
        counted = inside[..., None].to(values.dtype)
        total = (values * counted).sum((-3, -2))
        means = total / counted.sum((-3, -2)).clamp(min=1)
        return means.permute(0, 1, 4, 2, 3)


@register("ROIAlign")
class ROIAlign(Grid[ROIAlignParameter | ROIPoolingParameter]):
    """The mean of interpolated values at evenly spaced points of each bin of a region.

    sampling_ratio x sampling_ratio points in a bin, or where it is 0 or less as many as the
    bin is places high and wide; nothing is rounded (He et al., Mask R-CNN, 2017). With
    `roi_pooling_param` instead it is Cascade R-CNN's form: the values at the corners of
    the bins, (pooled_h + 1) x (pooled_w + 1) of them.
    """

    differences = "of the forks' several forms: Detectron's, and Cascade R-CNN's"
    message: ClassVar[str | None] = "roi_align_param"

    def setup(self, *bottoms: Shape) -> None:
        self._at_corners = self.layer_param.HasField("roi_pooling_param")
        if self._at_corners:
            self.param = self.layer_param.roi_pooling_param
        super().setup(*bottoms)

    def bins_of(self, features: Shape) -> Shape:
        channels, height, width = super().bins_of(features)
        return channels, height + self._at_corners, width + self._at_corners

    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        index, corners = self.read(features, regions)
        pooled = self._corner_values if self._at_corners else self._bin_means
        tops = [pooled(features[i], box) for i, box in zip(index.tolist(), corners, strict=True)]
        shape = (len(regions), *self.bins_of(tuple(features.shape)))
        return torch.stack(tops) if tops else features.new_zeros(shape)

    def _bin_means(self, x: Tensor, box: Tensor) -> Tensor:
        """(C, pooled_h, pooled_w) of one region of a map (C, H, W)."""
        start = box[:2] * self.param.spatial_scale
        ratio = self.layer_param.roi_align_param.sampling_ratio
        sides = (box[2:] * self.param.spatial_scale - start).clamp(min=1)
        bins = sides.new_tensor([self.param.pooled_w, self.param.pooled_h])
        samples = [ratio] * 2
        if ratio <= 0:
            samples = (sides / bins).ceil().long().tolist()
        weights = []
        for axis in (0, 1):
            count = int(bins[axis]) * samples[axis]
            points = torch.arange(count, dtype=x.dtype, device=x.device) + 0.5
            points = points * (sides[axis] / count) + start[axis]
            every = _interpolation(points, x.shape[2 - axis], 1.0)
            weights.append(every.view(-1, samples[axis], every.shape[1]).mean(1))
        # Means over points of a grid, interpolated along each axis: a product on either side.
        return weights[1] @ x @ weights[0].T

    def _corner_values(self, x: Tensor, box: Tensor) -> Tensor:
        pad = (box[2:] - box[:2] + 1) * self.layer_param.roi_pooling_param.pad_ratio
        start = (box[:2] - pad) * self.param.spatial_scale - 0.5
        sides = (box[2:] + pad) * self.param.spatial_scale - 0.5 - start
        shape = self.bins_of((1, *x.shape))
        if bool((sides <= 0).any()):
            return x.new_zeros(shape)
        weights = []
        for axis, count in ((0, shape[2]), (1, shape[1])):
            points = torch.arange(count, dtype=x.dtype, device=x.device)
            points = points * (sides[axis] / (count - 1)) + start[axis]
            weights.append(_interpolation(points, x.shape[2 - axis], 0.5))
        return weights[1] @ x @ weights[0].T


def _interpolation(points: Tensor, size: int, margin: float) -> Tensor:
    """What each of `size` places counts for at each point, (points, size).

    A point up to `margin` before the first place has its value; one up to `margin` behind
    the last place (1 behind it, for Detectron's margin of 1, is `size`) has the last one's;
    farther out it is 0.
    """
    inside = (points >= -margin) & (points <= size - 1 + margin)
    points = points.clamp(0, size - 1)
    places = torch.arange(size, dtype=points.dtype, device=points.device)
    return (1 - (points[:, None] - places).abs()).clamp(min=0) * inside[:, None]
