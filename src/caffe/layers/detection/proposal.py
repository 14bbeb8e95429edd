"""Proposal: the regions that a region proposal net finds, as a layer and as Python's own."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import mode
from ...errors import CaffeError, NetError, ShapeError
from ...memory.blob import Blob, Shape
from ...phases import TEST
from ...proto.caffe_pb2 import ProposalParameter, RegionProposalParameter
from ...pytorch import torch
from .. import python
from ..layer import Layer, register
from .boxes import growth, non_maximum_suppression
from .regions import ROIPooling

if TYPE_CHECKING:
    from torch import Tensor

RATIOS = (0.5, 1.0, 2.0)
SCALES = (8.0, 16.0, 32.0)


def anchors(base: float, ratios: Sequence[float], scales: Sequence[float]) -> np.ndarray:
    """Return boxes of the base's area in each ratio of height to width, and at each scale.

    Parameters
    ----------
    base : float
        The side of the square at (0, 0), in pixels.
    ratios, scales : sequence of float
        All scales of the first ratio come first.

    Returns
    -------
    ndarray
        (ratios * scales, 4): x1, y1, x2, y2, the last pixel included.

    Examples
    --------
    >>> anchors(16, [1], [8])
    array([[-56., -56.,  71.,  71.]])
    """
    center = (base - 1) / 2
    boxes = []
    for ratio in ratios:
        width = np.round(np.sqrt(base * base / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half = np.array([width * scale - 1, height * scale - 1]) / 2
            boxes.append([*(center - half), *(center + half)])
    return np.array(boxes, dtype=np.float64)


class Proposer:
    """From scores and offsets to regions (Ren et al., Faster R-CNN, 2015).

    Anchors are laid at every place of the map, moved and sized by their offsets, cut to the
    picture; those that are too small go; of the best `before` those stay that overlap none
    better by more than `threshold`, at most `after` of them.

    Parameters
    ----------
    stride : float
        Pixels of the picture for each place of the map.
    boxes : ndarray
        The anchors of one place, (A, 4), in pixels.
    smallest : float
        Regions need this width and height, in pixels of the picture before it was scaled.
    before, after : int
        How many regions are compared, and how many are given at most; `before` 0 is all.
    threshold : float
        How much two regions may overlap.
    drops_small : bool
        Regions that are too small go; otherwise they only have the score 0.
    """

    def __init__(
        self,
        stride: float,
        boxes: np.ndarray,
        smallest: float,
        before: int,
        after: int,
        threshold: float,
        drops_small: bool,
    ) -> None:
        self.stride = stride
        self.boxes = boxes
        self.smallest = smallest
        self.before = before
        self.after = after
        self.threshold = threshold
        self.drops_small = drops_small

    def check(self, scores: Shape, offsets: Shape, info: Shape) -> None:
        """Refuse bottoms that do not belong together.

        Raises
        ------
        ShapeError
            The text has the three shapes.
        """
        count = len(self.boxes)
        shapes = f"the bottoms' shapes are {scores}, {offsets} and {info}"
        if len(scores) != 4 or len(offsets) != 4 or scores[2:] != offsets[2:]:
            raise ShapeError(
                f"scores and offsets must have 4 axes and the same height and width; {shapes}"
            )
        if scores[0] != 1 or offsets[0] != 1:
            raise ShapeError(f"only one picture at a time is possible; {shapes}")
        if scores[1] != 2 * count or offsets[1] != 4 * count:
            raise ShapeError(
                f"{count} anchors need {2 * count} channels of scores and {4 * count} of offsets; "
                f"{shapes}"
            )
        if 0 in scores[2:]:
            raise ShapeError(f"the map has no places; {shapes}")
        if torch.Size(info).numel() < 3:
            raise ShapeError(
                f"the last bottom must hold the picture's height, width and scale; {shapes}"
            )

    def __call__(self, scores: Tensor, offsets: Tensor, info: Tensor) -> tuple[Tensor, Tensor]:
        """Return regions (R, 5), picture first, and their scores (R).

        Parameters
        ----------
        scores : Tensor
            (1, 2 A, H, W): for each anchor that it shows nothing, then for each that it does.
        offsets : Tensor
            (1, 4 A, H, W)
        info : Tensor
            The picture's height and width in pixels, and by what it was scaled (one factor, or
            height's and width's).

        Raises
        ------
        CaffeError
            The picture is empty.
        """
        size = info.reshape(-1).tolist()
        if not (size[0] >= 1 and size[1] >= 1):
            raise CaffeError(
                f"the picture is empty: the last bottom says that it is {size[0]:g} high and "
                f"{size[1]:g} wide; write height, width and scale into it before the forward"
            )
        count = len(self.boxes)
        boxes, fitting = self._moved(offsets, size)
        values = scores[0, count:].permute(1, 2, 0).reshape(-1)
        if self.drops_small:
            boxes, values = boxes[fitting], values[fitting]
        else:
            values = values * fitting
        values, order = values.sort(descending=True, stable=True)
        if self.before > 0:
            values, order = values[: self.before], order[: self.before]
        boxes = boxes[order]
        kept = non_maximum_suppression(boxes, self.threshold, most=self.after, pixels=1)
        return torch.nn.functional.pad(boxes[kept], (1, 0)), values[kept]

    def _moved(self, offsets: Tensor, size: list[float]) -> tuple[Tensor, Tensor]:
        """The anchors moved and cut, (H W A, 4), and which are not too small."""
        count, (height, width) = len(self.boxes), offsets.shape[2:]
        x = torch.arange(width, dtype=offsets.dtype, device=offsets.device) * self.stride
        y = torch.arange(height, dtype=offsets.dtype, device=offsets.device) * self.stride
        y, x = torch.meshgrid(y, x, indexing="ij")
        corner = torch.stack([x, y, x, y], -1)[:, :, None]
        boxes = (corner + offsets.new_tensor(self.boxes)).reshape(-1, 4)
        offsets = offsets.view(count, 4, height, width).permute(2, 3, 0, 1).reshape(-1, 4)
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        centers = boxes[:, :2] + sides / 2
        centers = offsets[:, :2] * sides + centers
        half = growth(offsets[:, 2:]) * sides / 2
        last = offsets.new_tensor([size[1] - 1, size[0] - 1, size[1] - 1, size[0] - 1])
        moved = torch.minimum(torch.cat([centers - half, centers + half], 1), last).clamp(min=0)
        scale = [size[3] if len(size) > 3 else size[2], size[2]]
        smallest = self.smallest * offsets.new_tensor(scale)
        return moved, (moved[:, 2:] - moved[:, :2] + 1 >= smallest).all(1)


@register("Proposal")
class Proposal(Layer[ProposalParameter]):
    """Regions (R, 5), picture first, that a region proposal net's scores and offsets give.

    Bottoms: scores (1, 2 A, H, W) of showing nothing and of showing something for each of the
    A anchors, offsets (1, 4 A, H, W), and the picture's height, width and scale. A second top
    gets the regions' scores (Ren et al., Faster R-CNN, 2015).
    """

    message = "proposal_param"
    bottoms = 3
    tops = (1, 2)
    has_gradient = False
    no_gradient_for = frozenset({0, 1, 2})
    is_pure = False
    differences = "Lenovo's fields give their anchors; regions are chosen as in the other forks"

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        ratios: Sequence[float] = list(param.ratio) or RATIOS
        scales: Sequence[float] = list(param.scale) or SCALES
        base, after = param.base_size, param.post_nms_topn
        if any(map(param.HasField, ("anchor_base_size", "anchor_scale", "anchor_ratio"))):
            base = param.anchor_base_size
            ratios = RATIOS if param.anchor_ratio == 3 else (1.0,)
            scales = SCALES if param.anchor_scale == 3 else (32.0,)
        if param.HasField("max_rois"):
            after = param.max_rois
        if min(ratios) <= 0 or min(scales) <= 0 or base < 1 or param.feat_stride < 1:
            raise NetError("feat_stride, base_size, ratio and scale must be positive")
        self.proposer = Proposer(
            param.feat_stride,
            anchors(base, ratios, scales),
            param.min_size,
            param.pre_nms_topn,
            after,
            param.nms_thresh,
            drops_small=False,
        )

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        self.proposer.check(*bottoms)
        shapes: list[Shape] = [(self.proposer.after, 5), (self.proposer.after,)]
        return shapes[: len(self.layer_param.top)]

    def forward(self, scores: Tensor, offsets: Tensor, info: Tensor) -> Sequence[Tensor]:
        return self.proposer(scores, offsets, info)


@register("RPROI")
class RPROI(Layer[RegionProposalParameter]):
    """Proposal and ROIPooling in one, as TensorRT's plugin has them.

    Bottoms: scores, offsets, the map that is pooled, and the picture's height, width and scale.
    Tops: regions (1, 1, nms_max_out, 4), x1, y1, x2, y2, and what they pool, (nms_max_out, C,
    pooled_h, pooled_w). Where fewer regions are found, the rest are 0.
    """

    message = "region_proposal_param"
    further_messages = ("roi_pooling_param",)
    bottoms = 4
    tops = 2
    has_gradient = False
    no_gradient_for = frozenset({0, 1, 2, 3})
    differences = "of TensorRT"

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        ratios: Sequence[float] = list(param.anchor_ratio) or RATIOS
        scales: Sequence[float] = list(param.anchor_scale) or SCALES
        for name, values in (("ratio", ratios), ("scale", scales)):
            count = f"anchor_{name}_count"
            if param.HasField(count) and getattr(param, count) != len(values):
                raise NetError(f"{count} is {getattr(param, count)}, but there are {len(values)}")
        if min(*ratios, *scales, param.feature_stride, param.nms_max_out) <= 0:
            raise NetError("feature_stride, nms_max_out and the anchors must be positive")
        self.proposer = Proposer(
            param.feature_stride,
            anchors(16, ratios, scales),
            param.min_box_size,
            param.prenms_top,
            param.nms_max_out,
            param.iou_threshold,
            drops_small=True,
        )
        self._pooling = ROIPooling(self.layer_param)
        self._pooling.setup()

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        scores, offsets, features, info = bottoms
        self.proposer.check(scores, offsets, info)
        count = self.param.nms_max_out
        return [(1, 1, count, 4), *self._pooling.top_shapes(features, (count, 5))]

    def forward(
        self, scores: Tensor, offsets: Tensor, features: Tensor, info: Tensor
    ) -> Sequence[Tensor]:
        regions, _ = self.proposer(scores, offsets, info)
        missing = self.param.nms_max_out - len(regions)
        regions = torch.nn.functional.pad(regions, (0, 0, 0, missing))
        return [regions[None, None, :, 1:], self._pooling.forward(features, regions)]


class ProposalLayer(python.Layer):
    """py-faster-rcnn's Python layer ``rpn.proposal_layer``, built in.

    ``param_str`` holds feat_stride and, where they are not (8, 16, 32), scales. The other
    numbers are those of its configuration: regions of 16 pixels at least, an overlap of 0.7,
    and 6000 regions before and 300 after at TEST, 12000 and 2000 at TRAIN.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        settings = read_settings(self.param_str)
        if "feat_stride" not in settings:
            raise NetError(f"param_str needs feat_stride; it is {self.param_str!r}")
        testing = self.phase == TEST
        self.proposer = Proposer(
            settings["feat_stride"],
            anchors(16, settings.get("ratios", RATIOS), settings.get("scales", SCALES)),
            smallest=16,
            before=6000 if testing else 12000,
            after=300 if testing else 2000,
            threshold=0.7,
            drops_small=True,
        )
        top[0].reshape(1, 5)
        if len(top) > 1:
            top[1].reshape(1, 1, 1, 1)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.proposer.check(*(blob.shape for blob in bottom))

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        store = mode.current_store()
        regions, scores = self.proposer(*(blob.data_tensor(store) for blob in bottom))
        top[0].put_data(regions, store)
        if len(top) > 1:
            top[1].put_data(scores[:, None], store)

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        """Regions have no gradient."""


# A name begins only where no letter stands before it, and a list ends before the next colon: each
# letter is looked at a few times only.
_SETTING = re.compile(r"(?<![^:,\s])([^:,\s]+)\s*:\s*(\[[^\]:]*\]|\([^):]*\)|[^,\n]*)[,\s]*")


def read_settings(text: str) -> dict[str, Any]:
    """Read a Python layer's ``param_str``: the little of YAML that nets use.

    Parameters
    ----------
    text : str
        ``'feat_stride': 16``, one setting a line or all in braces; values are numbers, quoted
        strings, true, false, and lists of them.

    Raises
    ------
    NetError
        It is nothing of the kind.

    Examples
    --------
    >>> read_settings("'feat_stride': 16\\n'scales': !!python/tuple [4, 8]")
    {'feat_stride': 16, 'scales': [4, 8]}
    """
    plain = re.sub(r"!!\S+|#[^\n]*", "", text).strip().removeprefix("{").removesuffix("}")
    settings = {}
    for match in _SETTING.finditer(plain):
        name, value = match.group(1).strip("'\""), match.group(2).strip()
        constant = {"true": True, "false": False}.get(value.lower())
        if constant is None:
            try:
                constant = ast.literal_eval(value)
            except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
                where = text if len(text) <= 200 else f"{text[:200]} ..."
                raise NetError(f"param_str is not read: {value!r:.80} in {where!r}") from error
        settings[name] = constant
    return settings
