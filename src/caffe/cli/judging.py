"""What `caffe test` tells beside a net's outputs: top-k shares, and overlaps of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError

if TYPE_CHECKING:
    from ..net.net import Net

JUDGES = ("Accuracy", "SegAccuracy", "SoftmaxWithLoss", "WeightedSoftmaxWithLoss")
"""Types of layers whose bottoms are scores of classes and labels, the first choice first."""


class Judge:
    """Counts over all batches how well a net's scores fit their labels.

    Scores and labels are the bottoms of the net's first Accuracy, SegAccuracy or SoftmaxWithLoss,
    whose ignore_label is heeded.

    Parameters
    ----------
    net : Net
        The net that is tested.
    ks : sequence of int
        For each k: how often is the label's score among the k largest. A score equal to the label's
        counts against it, as in Accuracy.
    overlaps : bool
        Whether to tell the mean overlap of the classes: what is right of a class by what is of it
        or was taken for it, over the classes that there are.

    Raises
    ------
    CaffeError
        The net has no such layer, or not as many classes as k.
    """

    def __init__(self, net: Net, ks: Sequence[int], overlaps: bool) -> None:
        found = [
            step
            for kind in JUDGES
            for step in net.inside.steps
            if step.layer.layer_param.type == kind
        ]
        if not found:
            raise CaffeError(
                f"the net has no layer that compares scores with labels ({', '.join(JUDGES)})"
            )
        step = found[0]
        self._scores, self._labels = step.bottoms[0], step.bottoms[1]
        self.name = step.layer.name
        param = step.layer.layer_param
        kind = param.type
        self._axis = {"Accuracy": param.accuracy_param.axis, "SegAccuracy": 1}.get(
            kind, param.softmax_param.axis
        )
        self._ignored: list[int] = []
        if kind == "SegAccuracy":
            self._ignored = list(param.seg_accuracy_param.ignore_label)
        else:
            message = param.accuracy_param if kind == "Accuracy" else param.loss_param
            self._ignored = [message.ignore_label] if message.HasField("ignore_label") else []
        self._classes = self._scores.shape[self._axis]
        if any(not 1 <= k <= self._classes for k in ks):
            raise CaffeError(
                f"top-k asks for {max(ks)} of {self._classes} classes (layer '{self.name}')"
            )
        self._hits = dict.fromkeys(ks, 0)
        self._count = 0
        self._confused = np.zeros((self._classes, self._classes), np.int64) if overlaps else None

    def add(self) -> None:
        """Take in the batch that was run."""
        rows = np.moveaxis(np.asarray(self._scores.data), self._axis, -1)
        rows = rows.reshape(-1, self._classes)
        labels = np.asarray(self._labels.data).reshape(-1).astype(np.int64)
        counts = ~np.isin(labels, self._ignored)
        rows, labels = rows[counts], labels[counts]
        if ((labels < 0) | (labels >= self._classes)).any():
            raise CaffeError(f"a label is none of {self._classes} classes (layer '{self.name}')")
        self._count += len(labels)
        rank = (rows >= rows[np.arange(len(labels)), labels][:, None]).sum(1)
        for k in self._hits:
            self._hits[k] += int((rank <= k).sum())
        if self._confused is not None:
            pairs = labels * self._classes + rows.argmax(1)
            self._confused += np.bincount(pairs, minlength=self._classes**2).reshape(
                self._classes, self._classes
            )

    def lines(self) -> Iterator[str]:
        """Yield what there is to tell."""
        for k, hits in self._hits.items():
            yield f"top-{k} ({self.name}) = {hits / max(1, self._count):g}"
        if self._confused is not None:
            yield f"mIoU ({self.name}) = {mean_overlap(self._confused):g}"


def mean_overlap(confused: NDArray[np.int64]) -> float:
    """Return the mean of right / (labelled or taken so) over the classes that there are.

    Parameters
    ----------
    confused : array
        (classes, classes): how many of each class (row) were taken for each (column).

    Examples
    --------
    >>> mean_overlap(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))
    0.7083333333333333
    """
    right = confused.diagonal()
    either = confused.sum(0) + confused.sum(1) - right
    there = either > 0
    return float((right[there] / either[there]).mean()) if there.any() else 0.0
