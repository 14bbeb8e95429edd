"""py-faster-rcnn's Python layers for training, built in: what an RPN and an R-CNN are to learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ... import mode
from ...errors import NetError, ShapeError
from ...memory.blob import Blob
from ...pytorch import torch
from .. import python
from .boxes import overlaps
from .proposal import RATIOS, SCALES, anchors, read_settings

if TYPE_CHECKING:
    from torch import Tensor

# py-faster-rcnn's configuration for training end to end.
RPN_BATCH, RPN_FOREGROUND = 256, 0.5
RPN_POSITIVE, RPN_NEGATIVE = 0.7, 0.3
BATCH, FOREGROUND = 128, 0.25
POSITIVE, NEGATIVE_BELOW = 0.5, 0.5
DEVIATIONS = (0.1, 0.1, 0.2, 0.2)


def offsets_to(boxes: Tensor, truth: Tensor) -> Tensor:
    """Return how each box is moved and sized to become its true one, both (N, 4) in pixels."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    wanted = truth[:, 2:] - truth[:, :2] + 1
    moved = truth[:, :2] + wanted / 2 - boxes[:, :2] - sides / 2
    return torch.cat([moved / sides, (wanted / sides).log()], 1)


def draw(candidates: Tensor, count: int) -> Tensor:
    """Draw so many of the candidates at random, or take all where there are fewer."""
    if len(candidates) <= count:
        return candidates
    order = torch.randperm(len(candidates), generator=mode.generator()).to(candidates.device)
    return candidates[order[:count]]


class Targets(python.Layer):
    """A layer of targets: there is no gradient."""

    def backward(
        self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]
    ) -> None:
        """Targets have no gradient."""

    @staticmethod
    def _read(bottom: Sequence[Blob]) -> list[Tensor]:
        store = mode.current_store()
        return [blob.data_tensor(store) for blob in bottom]

    @staticmethod
    def _write(top: Sequence[Blob], values: Sequence[Tensor]) -> None:
        store = mode.current_store()
        for blob, value in zip(top, values, strict=False):
            blob.put_data(value, store)


class AnchorTargetLayer(Targets):
    """What a region proposal net is to say of each anchor (``rpn.anchor_target_layer``).

    Bottoms: scores (only their height and width count), true boxes (G, 5) with their class last,
    the picture's height, width and scale, and the picture. Tops: labels (1, 1, A H, W), 1 for
    objects, 0 for none and -1 for neither; offsets (1, 4 A, H, W); their weights within and
    outside of the loss.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        settings = read_settings(self.param_str)
        if "feat_stride" not in settings:
            raise NetError(f"param_str needs feat_stride; it is {self.param_str!r}")
        self._stride = settings["feat_stride"]
        self._border = settings.get("allowed_border", 0)
        scales = settings.get("scales", SCALES)
        self._anchors = anchors(16, settings.get("ratios", RATIOS), scales)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        if len(bottom[0].shape) != 4 or bottom[0].shape[0] != 1:
            raise ShapeError(f"one picture's scores are needed, not {tuple(bottom[0].shape)}")
        height, width = bottom[0].shape[2:]
        count = len(self._anchors)
        shapes = [(1, 1, count * height, width), *[(1, 4 * count, height, width)] * 3]
        for blob, shape in zip(top, shapes, strict=False):
            blob.reshape(*shape)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        scores, truth, info = self._read(bottom)[:3]
        height, width = scores.shape[2:]
        truth = truth.reshape(-1, truth.shape[-1])[:, :4]
        size = info.reshape(-1)[:2]
        boxes = self._all(scores)
        border = self._border
        low = (boxes[:, :2] >= -border).all(1)
        inside = (low & (boxes[:, 2:] < size.flip(0) + border).all(1)).nonzero()[:, 0]
        own = boxes[inside]
        labels, targets = self._labels(own, truth)
        within = torch.zeros_like(own)
        within[labels == 1] = 1
        outside = torch.zeros_like(own)
        outside[labels >= 0] = 1 / max(1, int((labels >= 0).sum()))
        count = len(self._anchors)

        def spread(values: Tensor, empty: float) -> Tensor:
            whole = values.new_full((len(boxes), *values.shape[1:]), empty)
            whole[inside] = values
            return whole.view(height, width, count, -1).permute(2, 3, 0, 1)

        tops = [spread(labels, -1).reshape(1, 1, count * height, width)]
        for values in (targets, within, outside):
            tops.append(spread(values, 0).reshape(1, 4 * count, height, width))
        self._write(top, tops)

    def _all(self, scores: Tensor) -> Tensor:
        """The anchors at every place, (H W A, 4)."""
        height, width = scores.shape[2:]
        y = torch.arange(height).to(scores) * self._stride
        x = torch.arange(width).to(scores) * self._stride
        y, x = torch.meshgrid(y, x, indexing="ij")
        corner = torch.stack([x, y, x, y], -1)[:, :, None]
        return (corner + scores.new_tensor(self._anchors)).reshape(-1, 4)

    @staticmethod
    def _labels(boxes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        labels = boxes.new_full((len(boxes),), -1)
        if not len(boxes) or not len(truth):
            labels[draw(torch.arange(len(boxes)), RPN_BATCH)] = 0
            return labels, torch.zeros_like(boxes)
        shared = overlaps(boxes, truth, pixels=1)
        most, owner = shared.max(1)
        labels[most < RPN_NEGATIVE] = 0
        # Each true box has an anchor of its own at least: all that overlap it as much as any.
        labels[(shared == shared.amax(0)).any(1)] = 1
        labels[most >= RPN_POSITIVE] = 1
        positive = (labels == 1).nonzero()[:, 0]
        kept = draw(positive, int(RPN_FOREGROUND * RPN_BATCH))
        labels[positive] = -1
        labels[kept] = 1
        negative = (labels == 0).nonzero()[:, 0]
        kept = draw(negative, RPN_BATCH - len(kept))
        labels[negative] = -1
        labels[kept] = 0
        return labels, offsets_to(boxes, truth[owner])


class ProposalTargetLayer(Targets):
    """Regions to learn from, and what is to be said of them (``rpn.proposal_target_layer``).

    Bottoms: regions (R, 5), picture first, and true boxes (G, 5), class last, which join them.
    Tops: 128 regions at most, a quarter of them objects; their classes; offsets (R, 4 classes) by
    their usual deviations; and their weights within and outside of the loss. ``param_str`` holds
    num_classes; with 2 all objects share one set of offsets (R-FCN).
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        settings = read_settings(self.param_str)
        if "num_classes" not in settings:
            raise NetError(f"param_str needs num_classes; it is {self.param_str!r}")
        self._classes = settings["num_classes"]
        wide = 4 * self._classes
        for blob, shape in zip(top, [(1, 5), (1,), *[(1, wide)] * 3], strict=False):
            blob.reshape(*shape)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        for blob, what in zip(bottom, ("regions", "true boxes"), strict=False):
            if blob.shape[-1] != 5:
                raise ShapeError(f"{what} must be rows of 5 numbers, not {tuple(blob.shape)}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        regions, truth = (values.reshape(-1, 5) for values in self._read(bottom)[:2])
        if bool((regions[:, 0] != 0).any()):
            raise ShapeError("only one picture at a time is possible")
        regions = torch.cat([regions, torch.nn.functional.pad(truth[:, :4], (1, 0))])
        if len(truth):
            most, owner = overlaps(regions[:, 1:], truth[:, :4], pixels=1).max(1)
        else:
            most = regions.new_zeros(len(regions))
            owner = most.long()
        objects = draw((most >= POSITIVE).nonzero()[:, 0], round(FOREGROUND * BATCH))
        others = draw((most < NEGATIVE_BELOW).nonzero()[:, 0], BATCH - len(objects))
        kept = torch.cat([objects, others])
        chosen = regions[kept]
        labels = chosen.new_zeros(len(kept))
        targets = chosen.new_zeros(len(kept), self._classes, 4)
        weights = torch.zeros_like(targets)
        if len(objects):
            labels[: len(objects)] = truth[owner[objects], 4]
            wanted = offsets_to(regions[objects, 1:], truth[owner[objects], :4])
            place = labels[: len(objects)].long().clamp(max=self._classes - 1)
            row = torch.arange(len(objects), device=place.device)
            targets[row, place] = wanted / wanted.new_tensor(DEVIATIONS)
            weights[row, place] = 1
        flat = weights.flatten(1)
        self._write(top, [chosen, labels, targets.flatten(1), flat, flat.clone()])
