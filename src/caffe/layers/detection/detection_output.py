"""DetectionOutput: boxes with classes and scores, as an SSD net's last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import NetError, ShapeError
from ...memory.blob import Shape
from ...proto.caffe_pb2 import DetectionOutputParameter
from ...pytorch import torch
from ..layer import Layer, register
from .boxes import check_priors, count_priors, decode, read_priors, suppress

if TYPE_CHECKING:
    from torch import Tensor

LOWEST = -float(np.finfo(np.float32).max)


def detection_rows(found: list[Tensor], images: int, like: Tensor) -> Tensor:
    """Return detections as a top (1, 1, N, 7).

    Parameters
    ----------
    found : list of Tensor
        Rows (image, label, score, x1, y1, x2, y2).
    images : int
        How many pictures there were: if nothing is found, each gets a row of -1.
    like : Tensor
        Device and type.
    """
    rows = torch.cat(found) if found else like.new_zeros(0, 7)
    if not len(rows):
        rows = like.new_full((images, 7), -1)
        rows[:, 0] = torch.arange(images, device=like.device)
    return rows[None, None]


class GivesDetections:
    """What a layer is whose first top holds rows (image, label, score, x1, y1, x2, y2)."""

    @property
    def labels(self) -> int:
        """How many labels there are, the background among them if there is one."""
        raise NotImplementedError

    @property
    def background(self) -> int:
        """1 if label 0 is the background, else 0."""
        return 1


@register("DetectionOutput")
class DetectionOutput(GivesDetections, Layer[DetectionOutputParameter]):
    """Rows (image, label, score, x1, y1, x2, y2): the boxes that are left of SSD's predictions.

    Bottoms: offsets (N, 4 P), or (N, 4 P num_classes) unless share_location, scores
    (N, P num_classes), and priors from PriorBox. Of each class the boxes above
    confidence_threshold are taken, of these the top_k best, of these the ones that overlap
    none better by more than nms_threshold, and of those of all classes the keep_top_k best
    (Liu et al., 2016). Coordinates are parts of the picture. A picture's rows stand by class,
    then by score. A fourth bottom (the picture, to draw on) is not looked at. With five bottoms
    the last two are RefineDet's first stage: scores of being an object, and offsets of the
    priors (Zhang et al., 2018).
    """

    message = "detection_output_param"
    bottoms = (3, 5)
    has_gradient = False
    no_gradient_for = frozenset(range(5))
    is_pure = False
    differences = "`visualize` and `save_output_param` do nothing"

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if not param.HasField("num_classes") or param.num_classes < 1:
            raise NetError("detection_output_param needs num_classes")
        if param.nms_param.nms_threshold < 0:
            raise NetError(
                f"nms_threshold must not be negative; it is {param.nms_param.nms_threshold:g}"
            )
        if not 0 < param.nms_param.eta <= 1:
            raise NetError(f"eta must be above 0 and at most 1, not {param.nms_param.eta:g}")
        self._boxes_of_prior = 1 if param.share_location else param.num_classes

    @property
    def labels(self) -> int:
        return self.param.num_classes

    @property
    def background(self) -> int:
        return int(self.param.background_label_id == 0)

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        priors = count_priors(bottoms[2], "bottom 2")
        wanted = [(0, "offsets", 4 * priors * self._boxes_of_prior)]
        wanted.append((1, "scores", priors * self.param.num_classes))
        if len(bottoms) == 5:
            wanted += [(3, "scores of being an object", 2 * priors), (4, "offsets", 4 * priors)]
        for number, what, count in wanted:
            shape = bottoms[number]
            if torch.Size(shape[1:]).numel() != count or shape[0] != bottoms[0][0]:
                raise ShapeError(
                    f"the {priors} priors need {count} {what} for each of {bottoms[0][0]} "
                    f"picture(s), but bottom {number} has the shape {shape} "
                    f"(num_classes is {self.param.num_classes}, share_location "
                    f"{str(self.param.share_location).lower()})"
                )
        return [(1, 1, 1, 7)]

    def forward(
        self, offsets: Tensor, scores: Tensor, prior_blob: Tensor, *refined: Tensor
    ) -> Tensor:
        param, images = self.param, len(offsets)
        priors, variances = read_priors(prior_blob)
        if param.variance_encoded_in_target:
            variances = torch.ones_like(variances)
        check_priors(priors, param.code_type)
        scores = scores.reshape(images, len(priors), param.num_classes)
        if len(refined) == 2:
            objectness, first = refined
            first = first.reshape(images, -1, 4) * variances
            priors = decode(first, priors, param.code_type)[:, :, None]
            easy = objectness.reshape(images, -1, 2)[:, :, 1] < param.objectness_score
            scores = scores.masked_fill(easy[:, :, None], 0)
        else:
            priors = priors[None, :, None]
        offsets = offsets.reshape(images, -1, self._boxes_of_prior, 4) * variances[:, None]
        boxes = decode(offsets, priors, param.code_type)
        # One decision follows from another, so that there is nothing more for a GPU to do.
        tables = boxes.cpu().numpy(), scores.cpu().numpy()
        found = [self._of_picture(i, *(t[i] for t in tables)) for i in range(images)]
        rows = [torch.from_numpy(own).to(scores) for own in found]
        return detection_rows(rows, images, scores)

    def _of_picture(self, image: int, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Rows of one picture: boxes (P, 1 or num_classes, 4), scores (P, num_classes)."""
        param, nms = self.param, self.param.nms_param
        threshold = np.float32(LOWEST)
        if param.HasField("confidence_threshold"):
            threshold = np.float32(param.confidence_threshold)
        top_k = nms.top_k if nms.HasField("top_k") and nms.top_k > -1 else None
        by_class = np.ascontiguousarray(scores.T)
        passed = by_class > threshold
        rows = [np.zeros((0, 7), scores.dtype)]
        for label in np.flatnonzero(passed.any(1)).tolist():
            if label == param.background_label_id:
                continue
            which = np.flatnonzero(passed[label])
            which = which[best_first(by_class[label, which], top_k)]
            chosen = boxes[which, min(label, self._boxes_of_prior - 1)]
            kept = suppress(chosen, nms.nms_threshold, eta=nms.eta)
            own = np.empty((len(kept), 7), scores.dtype)
            own[:, 0], own[:, 1] = image, label
            own[:, 2], own[:, 3:] = by_class[label, which[kept]], chosen[kept]
            rows.append(own)
        together = np.concatenate(rows)
        if -1 < param.keep_top_k < len(together):
            together = together[np.sort(best_first(together[:, 2], param.keep_top_k))]
        return together


def best_first(scores: np.ndarray, most: int | None) -> np.ndarray:
    """Return the indices of the largest scores, at most so many; of equal ones the first first."""
    if most is None or most >= len(scores):
        return np.argsort(-scores, kind="stable")
    if most < 1:
        return np.zeros(0, np.int64)
    # Sorting is left to the few that are at least as large as the last one wanted.
    least = np.partition(scores, len(scores) - most)[len(scores) - most]
    large = np.flatnonzero(scores >= least)
    return large[np.argsort(-scores[large], kind="stable")[:most]]
