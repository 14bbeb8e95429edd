"""Losses that keep the hardest regions."""

from __future__ import annotations

import math

import numpy as np

from tests.helpers.formulas import reference_smooth_l1
from tests.helpers.running import floats, run


def test_ohem_losses_tell_each_regions_own() -> None:
    rng = np.random.default_rng(0)
    a, b, weights = rng.normal(size=(3, 4, 8))
    loss, single = run('type: "SmoothL1LossOHEM"', a, b, weights, tops=2)
    expected = reference_smooth_l1(weights * (a - b)).sum(1)
    np.testing.assert_allclose(single.ravel(), expected, rtol=1e-5)
    np.testing.assert_allclose(loss, expected.sum() / 4, rtol=1e-5)
    scores, labels = rng.normal(size=(4, 3)), np.array([2, 0, -1, 1])
    loss, softmax, single = run(
        'type: "SoftmaxWithLossOHEM" loss_param { ignore_label: -1 }', scores, labels, tops=3
    )
    chosen = [-math.log(softmax[i, n]) if n >= 0 else 0 for i, n in enumerate(labels)]
    np.testing.assert_allclose(single, chosen, rtol=1e-5)
    np.testing.assert_allclose(loss, sum(chosen) / 3, rtol=1e-5)


def test_box_annotator_keeps_the_regions_of_largest_loss_of_each_picture() -> None:
    rois = floats([[0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 2, 2], [0, 0, 0, 3, 3]])
    losses, labels = floats([0.3, 0.1, 0.5, 0.4]), floats([1, 2, 3, 4])
    text = "box_annotator_ohem_param { roi_per_img: 2 ignore_label: -1 }"
    kept, weights = run(
        f'type: "BoxAnnotatorOHEM" {text}', rois, losses, labels, np.ones((4, 8)), tops=2
    )
    assert kept.tolist() == [-1, 2, 3, 4]
    assert weights[:, 0].tolist() == [0, 1, 1, 1]
