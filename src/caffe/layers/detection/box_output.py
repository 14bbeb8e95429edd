"""BoxOutput: proposals out of maps of several scales (MS-CNN)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import BoxOutputParameter
from ...pytorch import torch
from ..axes import picture_size
from ..layer import Layer, register
from .boxes import ShareOf, suppress

if TYPE_CHECKING:
    from torch import Tensor

COORDINATES = 4

SHARES: dict[str, ShareOf] = {"IOU": "union", "IOMU": "smaller", "IOFU": "better"}
"""Of what iou_thr is a part, by nms_type."""


@register("BoxOutput")
class BoxOutput(Layer[BoxOutputParameter]):
    """Regions (R, 5, 1, 1), picture first, from maps of scores and offsets (Cai et al., 2016).

    Each bottom (N, classes + 4, H, W) has an anchor of field_w x field_h pixels in the middle of
    each place of downsample_rate pixels. A box counts whose best class lies fg_thr above the
    background, which is class 0; of boxes that overlap by more than iou_thr the best stays. A
    second top is (R, 6, 1, 1), with that difference behind the corners. Where nothing is found
    there is one region, (0, 1, 1, 10, 10), and the second top is 0.
    """

    message = "box_output_param"
    further_messages = ("bbox_reg_param",)
    bottoms = (1, None)
    tops = (1, 2)
    has_gradient = False
    is_pure = False
    differences = "of the forks"

    def setup(self, *bottoms: Shape) -> None:
        param, count = self.param, len(bottoms)
        self.no_gradient_for = frozenset(range(count))
        for name in ("field_w", "field_h", "downsample_rate"):
            if len(getattr(param, name)) != count:
                raise NetError(
                    f"{count} bottoms need as many {name}, not {len(getattr(param, name))}"
                )
        if param.field_whr < 1 or param.field_xyr <= 0:
            raise NetError("field_whr must be at least 1, and field_xyr above 0")
        if param.nms_type not in SHARES:
            raise NetError(f"nms_type must be IOU, IOMU or IOFU, not {param.nms_type!r}")
        norm = self.layer_param.bbox_reg_param
        self._mean, self._std = list(norm.bbox_mean), list(norm.bbox_std)
        if not (self._mean and self._std):
            self._mean, self._std = [0.0] * COORDINATES, [1.0] * COORDINATES
        if not len(self._mean) == len(self._std) == COORDINATES:
            raise NetError("bbox_mean and bbox_std must be 4 numbers each")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        for number, shape in enumerate(bottoms):
            picture_size(shape)
            if shape[:2] != bottoms[0][:2] or shape[1] < COORDINATES + 2:
                raise ShapeError(
                    f"the maps must hold as many pictures and channels, at least 2 classes and 4 "
                    f"offsets, but bottom {number} has the shape {shape}, bottom 0 {bottoms[0]}"
                )
        shapes: list[Shape] = [(1, 5, 1, 1), (1, 6, 1, 1)]
        return shapes[: len(self.layer_param.top)]

    def forward(self, *maps: Tensor) -> Sequence[Tensor]:
        rows = []
        for picture in range(len(maps[0])):
            found = torch.cat([self._boxes(x[picture], i) for i, x in enumerate(maps)])
            found = found[found[:, 4].argsort(descending=True, stable=True)]
            if self.param.max_nms_num:
                found = found[: self.param.max_nms_num]
            found = found[self._kept(found)]
            if self.param.max_post_nms_num:
                found = found[: self.param.max_post_nms_num]
            rows.append(torch.nn.functional.pad(found, (1, 0), value=picture))
        every = torch.cat(rows) if rows else maps[0].new_empty(0, 6)
        every[:, 3:5] += every[:, 1:3]
        regions, scored = every[:, :5], every
        if not len(every):
            regions = maps[0].new_tensor([[0, 1, 1, 10, 10]])
            scored = maps[0].new_zeros(1, 6)
        return [t[:, :, None, None] for t in (regions, scored)][: len(self.layer_param.top)]

    def _boxes(self, x: Tensor, number: int) -> Tensor:
        """One map's boxes (B, 5): x, y, width and height in pixels, and the score."""
        param = self.param
        classes = len(x) - COORDINATES
        score = x[1:classes].amax(0) - x[0]
        row, column = (score >= param.fg_thr).nonzero(as_tuple=True)
        offsets = x[classes:, row, column].T * x.new_tensor(self._std) + x.new_tensor(self._mean)
        rate, field = (
            param.downsample_rate[number],
            x.new_tensor([param.field_w[number], param.field_h[number]]),
        )
        places = torch.stack([column, row], 1) + 0.5
        moved = offsets[:, :2].clamp(-1 / param.field_xyr, 1 / param.field_xyr)
        grown = math.log(param.field_whr)
        sides = field * offsets[:, 2:].clamp(-grown, grown).exp()
        corner = (moved * field + places * rate - sides / 2).clamp(min=0)
        size = x.new_tensor([x.shape[2] * rate, x.shape[1] * rate])
        sides = torch.minimum(sides, size - corner)
        fitting = (sides >= param.min_size).all(1)
        return torch.cat([corner, sides, score[row, column, None]], 1)[fitting]

    def _kept(self, boxes: Tensor) -> Tensor:
        """Which of the boxes, the best first, overlap no better one too much."""
        found = boxes.detach().cpu().numpy()
        corner, sides = found[:, :2], found[:, 2:4]
        kept = suppress(
            np.concatenate([corner, corner + sides], 1),
            self.param.iou_thr,
            share_of=SHARES[self.param.nms_type],
            sizes=sides.prod(1),
        )
        return torch.from_numpy(kept).to(boxes.device)
