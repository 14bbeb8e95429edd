"""PriorBox: the boxes that a detector's predictions are relative to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import PriorBoxParameter
from ...pytorch import torch
from ..layer import Layer, register
from ..translation import Graph, Value, openvino

if TYPE_CHECKING:
    from torch import Tensor


@register("PriorBox")
class PriorBox(Layer[PriorBoxParameter]):
    """Boxes around each place of the first bottom, in parts of the second one's size (SSD).

    top[0, 0] holds (x1, y1, x2, y2) of each box, top[0, 1] their variances (Liu et al., 2016).
    For each min_size a square; with max_size one of sqrt(min_size * max_size); then for each
    other aspect ratio a a box min_size * sqrt(a) wide and min_size / sqrt(a) high.
    """

    message = "prior_box_param"
    bottoms = 2
    has_gradient = False
    no_gradient_for = frozenset({0, 1})

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if not param.min_size:
            raise NetError("prior_box_param needs at least one min_size")
        if min(param.min_size) <= 0:
            raise NetError(f"min_size must be positive, not {min(param.min_size):g}")
        if param.max_size and len(param.max_size) != len(param.min_size):
            raise NetError(
                f"there must be a max_size for each min_size: {len(param.max_size)} for "
                f"{len(param.min_size)}"
            )
        for low, high in zip(param.min_size, param.max_size, strict=False):
            if high <= low:
                raise NetError(f"max_size must be greater than min_size, but {high:g} <= {low:g}")
        if any(ratio <= 0 for ratio in param.aspect_ratio):
            raise NetError(f"aspect_ratio must be positive, not {min(param.aspect_ratio):g}")
        if len(param.variance) not in (0, 1, 4) or min(param.variance, default=1) <= 0:
            raise NetError(
                f"variance is given once or four times, and is positive; it is "
                f"{list(param.variance)}"
            )
        self._variances = list(param.variance) or [0.1]
        self._image = self._pair("img_size", "img_h", "img_w")
        self._step = self._pair("step", "step_h", "step_w")
        self._sizes = self._box_sizes()
        self._made: tuple[object, Tensor] | None = None

    def _pair(self, one: str, high: str, wide: str) -> tuple[float, float] | None:
        """Height and width where they are given, in either form."""
        has = self.param.HasField
        if has(high) or has(wide):
            if has(one):
                raise NetError(f"give {one} or {high} and {wide}, not both")
            pair = (getattr(self.param, high), getattr(self.param, wide))
        elif has(one):
            pair = (getattr(self.param, one),) * 2
        else:
            return None
        if min(pair) <= 0:
            raise NetError(f"{one} ({high} and {wide}) must be positive, not {pair}")
        return pair

    def _box_sizes(self) -> list[tuple[float, float]]:
        """Width and height of the boxes of one place, in pixels."""
        ratios = [1.0]
        for ratio in self.param.aspect_ratio:
            if all(abs(ratio - other) >= 1e-6 for other in ratios):
                ratios.append(ratio)
                if self.param.flip:
                    ratios.append(1 / ratio)
        sizes = []
        for i, given in enumerate(self.param.min_size):
            # The original cuts sizes to whole pixels, and nets are trained with that.
            size = float(int(given))
            sizes.append((size, size))
            if self.param.max_size:
                middle = math.sqrt(size * int(self.param.max_size[i]))
                sizes.append((middle, middle))
            for ratio in ratios:
                if abs(ratio - 1) >= 1e-6:
                    sizes.append((size * math.sqrt(ratio), size / math.sqrt(ratio)))
        return sizes

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        for number, shape in enumerate(bottoms):
            if len(shape) != 4:
                raise ShapeError(
                    f"bottom {number} must have 4 axes (num, channels, height, width), "
                    f"not the shape {shape}"
                )
        count = bottoms[0][2] * bottoms[0][3] * len(self._sizes)
        if count == 0:
            raise ShapeError(f"the first bottom has no places: its shape is {bottoms[0]}")
        return [(1, 2, count * 4)]

    def forward(self, places: Tensor, data: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            # What is recorded is not kept for those who compute.
            return self._make(places, data)
        # Videos give the same boxes for every picture.
        key = (tuple(places.shape[2:]), tuple(data.shape[2:]), places.device, places.dtype)
        if self._made is None or self._made[0] != key:
            self._made = key, self._make(places, data)
        return self._made[1].clone()

    def _make(self, places: Tensor, data: Tensor) -> Tensor:
        rows, columns = places.shape[2:]
        height, width = self._image or tuple(data.shape[2:])
        step_h, step_w = self._step or (height / rows, width / columns)
        offset = self.param.offset

        def along(count: int, step: float) -> Tensor:
            return (torch.arange(count, dtype=torch.float64, device=places.device) + offset) * step

        y, x = torch.meshgrid(along(rows, step_h), along(columns, step_w), indexing="ij")
        centers = torch.stack([x, y], -1)[:, :, None]
        half = torch.tensor(self._sizes, dtype=torch.float64, device=places.device) / 2
        picture = torch.tensor([width, height], dtype=torch.float64, device=places.device)
        boxes = torch.cat([(centers - half) / picture, (centers + half) / picture], -1)
        if self.param.clip:
            boxes = boxes.clamp(0, 1)
        variances = boxes.new_tensor(self._variances).expand(boxes.shape)
        return torch.stack([boxes.reshape(-1), variances.reshape(-1)])[None].to(places.dtype)


@openvino.rule(PriorBox)
def _prior_box(layer: PriorBox, graph: Graph, *bottoms: Value) -> Value:
    """The boxes depend on the bottoms' shapes alone."""
    boxes = layer.forward(
        *(torch.zeros(graph.shape(bottom), dtype=torch.float32) for bottom in bottoms)
    )
    return graph.constant(boxes.numpy())
