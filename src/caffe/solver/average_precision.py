"""How good detections are: SSD's average precision of each class, and its mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

VERSIONS = ("11point", "MaxIntegral", "Integral")
"""The values of ap_version."""


def average_precision(
    marks: Sequence[tuple[float, bool]], positives: int, version: str = "Integral"
) -> float:
    """Return the area under a class's curve of precision over recall.

    With the detections in falling order of their scores, p_i is the share of right ones among
    the first i, and r_i the share of the true boxes that these found:

    - "11point" (VOC 2007): the mean over r = 0, 0.1, ..., 1 of max(p_i : r_i >= r);
    - "MaxIntegral" (VOC 2012): the sum of (r_{i+1} - r_i) max(p_k : k >= i), with r_0 = 0;
    - "Integral": the sum of (r_i - r_{i-1}) p_i.

    Numbers are float32, as in SSD: a recall of 0.7 is a little less than 0.7 there.

    Parameters
    ----------
    marks : sequence of (float, bool)
        Each detection's score, and whether it is right.
    positives : int
        How many true boxes there are.
    version : {"11point", "MaxIntegral", "Integral"}
    """
    if not marks or not positives:
        return 0.0
    scores = np.array([score for score, _ in marks], np.float32)
    right = np.array([mark for _, mark in marks])[np.argsort(-scores, kind="stable")]
    found = right.cumsum()
    precision = (found / np.arange(1, len(found) + 1)).astype(np.float32)
    recall = (found / positives).astype(np.float32)
    if version == "11point":
        reached = recall.astype(float)[None] >= np.arange(11)[:, None] / 10.0
        return float(np.where(reached, precision, 0).max(1).mean())
    if version == "MaxIntegral":
        best = np.maximum.accumulate(precision[::-1])[::-1]
        # The part up to the first recall takes the best of all, like the one behind it.
        steps = np.diff(recall, prepend=np.float32(0))
        return float((steps * best[np.maximum(np.arange(len(best)) - 1, 0)]).sum())
    return float((np.diff(recall, prepend=np.float32(0)) * precision).sum())


class DetectionScores:
    """What DetectionEvaluate's rows of many batches come to.

    Attributes
    ----------
    marks : dict of int to list
        For each class (score, whether right) of what was found; what found a difficult box
        counts neither way.
    positives : dict of int to int
        For each class how many true boxes there are.
    """

    def __init__(self) -> None:
        self.marks: dict[int, list[tuple[float, bool]]] = {}
        self.positives: dict[int, int] = {}

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take in a top's rows: (image, label, score, right, wrong), or (-1, label, boxes, ...)."""
        for image, label, score, right, wrong in rows.reshape(-1, 5).tolist():
            if image == -1:
                self.positives[int(label)] = self.positives.get(int(label), 0) + int(score)
            elif right or wrong:
                self.marks.setdefault(int(label), []).append((score, bool(right)))

    def by_class(self, version: str) -> dict[int, float]:
        """Return each class's average precision, but for classes of which nothing was found."""
        return {
            label: average_precision(self.marks[label], self.positives[label], version)
            for label in sorted(self.positives)
            if label in self.marks
        }

    def mean(self, version: str) -> float:
        """Return the mean over all classes; those of which nothing was found count as 0."""
        return sum(self.by_class(version).values()) / max(1, len(self.positives))
