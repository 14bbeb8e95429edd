"""MultiBoxLoss: what an SSD net is trained with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import CaffeError, NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import LossParameter, MultiBoxLossParameter
from ...pytorch import F, torch
from ..layer import register
from ..loss import Loss, normalization, normalizer
from .boxes import (
    CENTER_SIZE,
    check_priors,
    count_priors,
    decode,
    encode,
    non_maximum_suppression,
    overlaps,
    read_priors,
)
from .smooth_l1_loss import smooth_l1

if TYPE_CHECKING:
    from torch import Tensor

LEAST_OVERLAP = 1e-6
UNMATCHED, LEFT_OUT = -1, -2
ANY_LABEL = -1
"""Stands for the label where one box serves all classes."""


@dataclass
class _Matches:
    """For the boxes of one class (or all) in one picture: which true box each belongs to."""

    label: int
    truth: np.ndarray
    overlap: np.ndarray


@dataclass
class _Truth:
    """The true boxes of one picture."""

    labels: np.ndarray
    boxes: Tensor


@register("MultiBoxLoss")
class MultiBoxLoss(Loss[MultiBoxLossParameter]):
    """top = (loc_weight * loss of matched boxes' offsets + loss of classes) / normalizer.

    Bottoms: offsets, scores (before the softmax), priors, and true boxes as rows (picture, label,
    instance, x1, y1, x2, y2, difficult). Each true box gets the prior that overlaps it most,
    and all others that overlap it by overlap_threshold. Of the priors that belong to none only
    the neg_pos_ratio times as many of largest loss count. The normalizer is the number of
    matches, unless loss_param says otherwise (Liu et al., SSD, 2016).

    Two more bottoms are RefineDet's first stage, as DetectionOutput takes it: the probabilities
    of being no object and an object, and offsets. The priors are moved by the latter; those that
    belong to none count only from objectness_score on (Zhang et al., 2018).
    """

    message = "multibox_loss_param"
    further_messages = ("loss_param",)
    bottoms = (4, 6)
    no_gradient_for = frozenset({2, 3, 4, 5})
    differences = "two more bottoms of RefineDet"

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if not param.HasField("num_classes") or param.num_classes < 1:
            raise NetError("multibox_loss_param needs num_classes")
        self._mining = param.mining_type
        if param.HasField("do_neg_mining"):
            asked = param.do_neg_mining
            if not param.HasField("mining_type") and not asked:
                self._mining = MultiBoxLossParameter.NONE
            if asked != (self._mining != MultiBoxLossParameter.NONE):
                raise NetError("do_neg_mining and mining_type contradict each other")
        if self._mining != MultiBoxLossParameter.NONE and not param.share_location:
            raise NetError("without share_location there is no mining: set mining_type: NONE")
        if param.neg_pos_ratio <= 0 or param.sample_size <= 0:
            raise NetError("neg_pos_ratio and sample_size must be positive")
        if param.map_object_to_agnostic and param.num_classes != 2:
            raise NetError("map_object_to_agnostic needs num_classes 2: background and object")
        self._per_prior = 1 if param.share_location else param.num_classes
        wanted = list(self.layer_param.propagate_down) or [True, True]
        self._counts_boxes, self._counts_classes = wanted[0], all(wanted[1:2])

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        shapes = super().top_shapes(*bottoms)
        priors = count_priors(bottoms[2], "bottom 2")
        wanted = (4 * priors * self._per_prior, priors * self.param.num_classes)
        found = tuple(math.prod(shape[1:]) for shape in bottoms[:2])
        if wanted != found:
            raise ShapeError(
                f"the {priors} priors need {wanted[0]} offsets and {wanted[1]} scores for each "
                f"picture, but the bottoms' shapes are {bottoms[0]} and {bottoms[1]}"
            )
        first = tuple(math.prod(shape[1:]) for shape in bottoms[4:])
        if first not in ((), (2 * priors, 4 * priors)):
            raise ShapeError(
                f"the {priors} priors need {2 * priors} scores of being an object and "
                f"{4 * priors} offsets for each picture, but bottoms 4 and on have the shapes "
                f"{', '.join(map(str, bottoms[4:]))}"
            )
        if math.prod(bottoms[3]) % 8:
            raise ShapeError(
                f"true boxes are rows of 8 numbers (picture, label, instance, x1, y1, x2, y2, "
                f"difficult), but their shape is {bottoms[3]}"
            )
        return shapes

    def forward(
        self,
        offsets: Tensor,
        scores: Tensor,
        prior_blob: Tensor,
        truth_blob: Tensor,
        *first_stage: Tensor,
    ) -> Tensor:
        laid, variances = read_priors(prior_blob)
        check_priors(laid, self.param.code_type)
        count = len(laid)
        every_prior = laid.expand(len(offsets), -1, -1)
        objectness = None
        if first_stage:
            objectness = first_stage[0].detach().reshape(len(offsets), count, 2)[:, :, 1]
            moved = first_stage[1].detach().reshape(len(offsets), count, 4)
            every_prior = self._decoded(moved, laid, variances)
        offsets = offsets.reshape(len(offsets), count, self._per_prior, 4)
        scores = scores.reshape(len(scores), count, self.param.num_classes)
        truths = self._read_truth(truth_blob, len(scores))
        target = torch.full(scores.shape[:2], self.param.background_label_id, dtype=torch.int64)
        counting = torch.full(target.shape, self._mining == MultiBoxLossParameter.NONE)
        box_loss = offsets.new_zeros(())
        number = 0
        for image, truth in enumerate(truths):
            if truth is None:
                continue
            priors = every_prior[image]
            every = self._match(truth, offsets[image].detach(), priors, variances)
            for matches in every:
                where = np.flatnonzero(matches.truth >= 0)
                target[image, where] = torch.from_numpy(self._label(truth, matches.truth[where]))
            if self._mining != MultiBoxLossParameter.NONE:
                with torch.no_grad():
                    self._mine(
                        every[0], truth, offsets[image], scores[image], priors, variances,
                        target[image], counting[image],
                        None if objectness is None else objectness[image],
                    )  # fmt: skip
            for matches in every:
                box_loss = (
                    box_loss
                    + self._box_loss(matches, truth, offsets[image], priors, variances).sum()
                )
                number += int((matches.truth >= 0).sum())
        class_loss = self._class_losses(scores, target.to(scores.device))
        class_loss = class_loss[counting.to(scores.device)].sum()
        total = self.param.loc_weight * box_loss * self._counts_boxes
        total = total + class_loss * self._counts_classes
        mode = normalization(self.layer_param.loss_param, LossParameter.VALID)
        return total / normalizer(mode, len(scores), count, torch.tensor(number))

    def _read_truth(self, blob: Tensor, images: int) -> list[_Truth | None]:
        rows = blob.detach().reshape(-1, 8)
        numbers = rows.cpu().double().numpy()
        used = numbers[:, 0] != -1
        label = numbers[:, 1]
        background = self.param.background_label_id
        wrong = used & ~((label >= 0) & (label < self.param.num_classes) & (label != background))
        if self.param.map_object_to_agnostic:
            wrong = used & (label == background)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise CaffeError(
                f"true box {row} has the label {label[row]:g}: labels go from 0 to "
                f"{self.param.num_classes - 1}, and {background} is the background"
            )
        if not self.param.use_difficult_gt:
            used &= numbers[:, 7] == 0
        found: list[_Truth | None] = []
        for image in range(images):
            which = np.flatnonzero(used & (np.trunc(numbers[:, 0]) == image))
            boxes = rows[torch.from_numpy(which).to(rows.device), 3:7]
            found.append(_Truth(label[which].astype(np.int64), boxes) if len(which) else None)
        return found

    def _label(self, truth: _Truth, index: np.ndarray) -> np.ndarray:
        if self.param.map_object_to_agnostic:
            return np.full(len(index), self.param.background_label_id + 1)
        labels: np.ndarray = truth.labels[index]
        return labels

    def _match(
        self, truth: _Truth, offsets: Tensor, priors: Tensor, variances: Tensor
    ) -> list[_Matches]:
        """Match the picture's true boxes with priors, or with the boxes predicted."""
        param = self.param
        labels = [ANY_LABEL]
        if not param.share_location:
            labels = [c for c in range(param.num_classes) if c != param.background_label_id]
        if not param.use_prior_for_matching:
            every = []
            for label in labels:
                own = np.arange(len(truth.labels))
                if label != ANY_LABEL:
                    own = np.flatnonzero(truth.labels == label)
                boxes = self._decoded(offsets[:, max(label, 0)], priors, variances)
                every.append(_Matches(label, *self._assign(boxes, truth.boxes, own)))
            return every
        index, overlap = self._assign(priors, truth.boxes, np.arange(len(truth.labels)))
        if param.share_location:
            return [_Matches(ANY_LABEL, index, overlap)]
        matched = np.where(index >= 0, truth.labels[np.maximum(index, 0)], ANY_LABEL)
        return [_Matches(c, np.where(matched == c, index, UNMATCHED), overlap) for c in labels]

    def _decoded(self, offsets: Tensor, priors: Tensor, variances: Tensor) -> Tensor:
        if not self.param.encode_variance_in_target:
            offsets = offsets * variances
        return decode(offsets, priors, self.param.code_type)

    def _assign(
        self, boxes: Tensor, truth: Tensor, own: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each box, which of the true boxes `own` it belongs to, and its largest overlap."""
        index = np.full(len(boxes), UNMATCHED)
        if not len(own):
            return index, np.zeros(len(boxes))
        shared = overlaps(boxes, truth[torch.from_numpy(own).to(truth.device)]).cpu().numpy()
        shared = np.where(shared > LEAST_OVERLAP, shared, 0)
        if self.param.ignore_cross_boundary_bbox:
            crossing = ((boxes < 0) | (boxes > 1)).any(1).cpu().numpy()
            index[crossing] = LEFT_OUT
            shared[crossing] = 0
        # The largest overlap of all first; then the largest among the rest; and so on.
        open_pairs = shared.copy()
        for _ in own:
            box, one = np.unravel_index(open_pairs.argmax(), open_pairs.shape)
            if not open_pairs[box, one] > 0:
                break
            index[box] = own[one]
            open_pairs[box] = open_pairs[:, one] = 0
        if self.param.match_type == MultiBoxLossParameter.PER_PREDICTION:
            best = shared.argmax(1)
            enough = shared.max(1) >= max(self.param.overlap_threshold, LEAST_OVERLAP)
            more = (index == UNMATCHED) & enough
            index[more] = own[best[more]]
        return index, shared.max(1)

    def _mine(
        self,
        matches: _Matches,
        truth: _Truth,
        offsets: Tensor,
        scores: Tensor,
        priors: Tensor,
        variances: Tensor,
        target: Tensor,
        counting: Tensor,
        objectness: Tensor | None,
    ) -> None:
        """Choose which priors count: marks them in `counting`, and drops matches that do not."""
        param = self.param
        hard = self._mining == MultiBoxLossParameter.HARD_EXAMPLE
        losses = self._class_losses(scores[None], target[None].to(scores.device))[0]
        positive = matches.truth >= 0
        if hard:
            which = torch.from_numpy(np.flatnonzero(positive)).to(losses.device)
            boxes = self._box_loss(matches, truth, offsets, priors, variances)
            losses = losses.index_add(0, which, boxes)
            eligible, most = np.ones_like(positive), param.sample_size
        else:
            eligible = (matches.truth == UNMATCHED) & (matches.overlap < param.neg_overlap)
            if objectness is not None:
                eligible &= (objectness >= param.objectness_score).cpu().numpy()
            most = int(positive.sum() * param.neg_pos_ratio)
        candidates = np.flatnonzero(eligible)
        order = np.argsort(-losses.cpu().numpy()[candidates], kind="stable")
        if param.HasField("nms_param") and param.nms_param.nms_threshold > 0:
            order = order[: param.nms_param.top_k] if param.nms_param.top_k > -1 else order
            boxes = priors
            if not param.use_prior_for_nms:
                boxes = self._decoded(offsets[:, 0], priors, variances)
            sorted_boxes = boxes.cpu()[torch.from_numpy(candidates[order])]
            kept = non_maximum_suppression(sorted_boxes, param.nms_param.nms_threshold)
            order = order[kept.numpy()]
        chosen = np.zeros(len(positive), dtype=bool)
        chosen[candidates[order[:most]]] = True
        if hard:
            matches.truth[positive & ~chosen] = UNMATCHED
            counting |= torch.from_numpy(chosen & (matches.truth != LEFT_OUT))
        else:
            counting |= torch.from_numpy(positive | chosen)

    def _box_loss(
        self, matches: _Matches, truth: _Truth, offsets: Tensor, priors: Tensor, variances: Tensor
    ) -> Tensor:
        """The loss of each matched box's offsets."""
        param = self.param
        where = np.flatnonzero(matches.truth >= 0)
        which = torch.from_numpy(where).to(offsets.device)
        belongs = torch.from_numpy(matches.truth[where]).to(offsets.device)
        found = offsets[which, max(matches.label, 0)]
        wanted = encode(truth.boxes[belongs], priors[which], param.code_type)
        if not param.encode_variance_in_target:
            wanted = wanted / variances[which]
        if param.bp_inside and param.code_type != CENTER_SIZE:
            boxes = priors[which]
            if not param.use_prior_for_matching:
                boxes = self._decoded(found.detach(), boxes, variances[which])
            found = torch.where((boxes < 0) | (boxes > 1), wanted, found)
        difference = found - wanted
        if param.encode_variance_in_target:
            difference = difference / variances[which]
        if param.loc_loss_type == MultiBoxLossParameter.L2:
            return difference.square().sum(1) / 2
        return smooth_l1(difference).sum(1)

    def _class_losses(self, scores: Tensor, target: Tensor) -> Tensor:
        """(N, P) from scores (N, P, num_classes) and labels (N, P)."""
        if self.param.conf_loss_type == MultiBoxLossParameter.SOFTMAX:
            return F.cross_entropy(scores.movedim(-1, 1), target, reduction="none")
        wanted = F.one_hot(target, self.param.num_classes).to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, wanted, reduction="none").sum(-1)
