"""How many labelled pixels are right."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError
from tests.helpers.running import run


def test_segmentation_accuracy() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(2, 4, 5, 6)), rng.integers(0, 4, size=(2, 1, 5, 6))
    labels[0, 0, :2] = 255
    (top,) = run('type: "SegAccuracy" seg_accuracy_param { ignore_label: 255 }', scores, labels)
    found, wanted = scores.argmax(1)[:, None], labels
    counted = wanted != 255
    right = (found == wanted) & counted
    recall, shared = [], []
    for c in range(4):
        own, taken = (wanted == c) & counted, (found == c) & counted
        recall.append((own & taken).sum() / own.sum())
        shared.append((own & taken).sum() / (own | taken).sum())
    expected = [right.sum() / counted.sum(), np.mean(recall), np.mean(shared)]
    np.testing.assert_allclose(top.ravel(), expected, rtol=1e-5)


def test_segmentation_accuracy_adds_up_where_it_is_not_reset() -> None:
    net = caffe.Net(
        """input: "x" input_shape { dim: 1 dim: 2 dim: 1 dim: 2 }
        input: "l" input_shape { dim: 1 dim: 1 dim: 1 dim: 2 }
        layer { name: "a" type: "SegAccuracy" bottom: "x" bottom: "l" top: "a"
                seg_accuracy_param { reset: false } }""",
        caffe.TEST,
    )
    x = np.array([[[[1, 1]], [[0, 0.0]]]])
    shown = [float(net.forward(x=x, l=[[[[0, c]]]])["a"].ravel()[0]) for c in (0, 1, 1)]
    np.testing.assert_allclose(shown, [1, 3 / 4, 4 / 6])
    with pytest.raises(CaffeError, match="a label is 7"):
        net.forward(x=x, l=[[[[0, 7]]]])
