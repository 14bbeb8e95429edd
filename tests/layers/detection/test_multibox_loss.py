"""SSD's loss, prior by prior."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import CaffeError, ShapeError
from tests.helpers.boxes import overlap, random_priors
from tests.helpers.formulas import reference_smooth_l1
from tests.helpers.running import Arrays, floats, run


def reference_multibox(
    loc: np.ndarray,
    conf: np.ndarray,
    priors: np.ndarray,
    truth: np.ndarray,
    *,
    classes: int,
    threshold: float = 0.5,
    ratio: float = 3,
    neg_overlap: float = 0.5,
) -> float:
    """CENTER_SIZE, SmoothL1 and softmax, with mining."""
    boxes, variances = priors.reshape(2, -1, 4).astype(np.float64)
    total, number = 0.0, 0
    for n in range(len(loc)):
        own = truth[truth[:, 0] == n]
        if not len(own):
            continue
        shared = np.array([[overlap(p, g[3:7]) for g in own] for p in boxes])
        belongs = np.full(len(boxes), -1)
        pairs = shared.copy()
        while pairs.max() > 1e-6:
            p, g = np.unravel_index(pairs.argmax(), pairs.shape)
            belongs[p] = g
            pairs[p] = pairs[:, g] = 0
        for p in range(len(boxes)):
            if belongs[p] < 0 and shared[p].max() >= threshold:
                belongs[p] = shared[p].argmax()
        scores = conf[n].reshape(-1, classes).astype(np.float64)
        log = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        for p in np.flatnonzero(belongs >= 0):
            g, b, v = own[belongs[p]], boxes[p], variances[p]
            w, h = b[2] - b[0], b[3] - b[1]
            wanted = np.array([
                ((g[3] + g[5]) / 2 - (b[0] + b[2]) / 2) / w / v[0],
                ((g[4] + g[6]) / 2 - (b[1] + b[3]) / 2) / h / v[1],
                math.log((g[5] - g[3]) / w) / v[2],
                math.log((g[6] - g[4]) / h) / v[3],
            ])  # fmt: skip
            total += reference_smooth_l1(loc[n].reshape(-1, 4)[p] - wanted).sum()
            total += -log[p, int(g[1])]
            number += 1
        free = [p for p in range(len(boxes)) if belongs[p] < 0 and shared[p].max() < neg_overlap]
        losses = sorted((-log[p, 0] for p in free), reverse=True)
        total += sum(losses[: int((belongs >= 0).sum() * ratio)])
    return total / max(1, number)


def multibox_bottoms(seed: int, classes: int = 3, count: int = 30) -> Arrays:
    rng = np.random.default_rng(seed)
    truth = []
    for picture in range(2):
        for _ in range(rng.integers(1, 4)):
            corner = rng.uniform(0, 0.6, 2)
            far = corner + rng.uniform(0.15, 0.4, 2)
            truth.append([picture, rng.integers(1, classes), 0, *corner, *far, 0])
    # A row that a data layer writes for a picture without boxes.
    truth.append([-1] * 8)
    return [
        floats(rng.normal(size=(3, 4 * count))),
        floats(rng.normal(size=(3, classes * count))),
        random_priors(rng, count),
        floats(truth)[None, None],
    ]


@pytest.mark.parametrize("seed", range(6))
def test_multibox_loss_is_what_ssd_says(seed: int) -> None:
    bottoms = multibox_bottoms(seed)
    text = "num_classes: 3 code_type: CENTER_SIZE overlap_threshold: 0.4 neg_overlap: 0.3"
    (top,) = run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *bottoms)
    truth = bottoms[3].reshape(-1, 8)
    expected = reference_multibox(*bottoms[:3], truth, classes=3, threshold=0.4, neg_overlap=0.3)
    np.testing.assert_allclose(top, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "code_type: CORNER loc_loss_type: L2",
        "code_type: CORNER_SIZE conf_loss_type: LOGISTIC",
        "code_type: CENTER_SIZE encode_variance_in_target: true match_type: BIPARTITE",
        "code_type: CORNER mining_type: NONE use_prior_for_matching: false",
        "code_type: CORNER mining_type: HARD_EXAMPLE sample_size: 8 bp_inside: true",
        "code_type: CORNER ignore_cross_boundary_bbox: true do_neg_mining: true",
        "code_type: CENTER_SIZE nms_param { nms_threshold: 0.9 top_k: 20 }",
    ],
)
def test_multibox_loss_in_all_its_forms_is_a_positive_number(text: str) -> None:
    text = f"num_classes: 3 {text}"
    (top,) = run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *multibox_bottoms(1))
    assert np.isfinite(top)
    assert top > 0


def test_multibox_loss_of_refinedet_moves_the_priors_and_leaves_easy_ones_out() -> None:
    loc, conf, priors, truth = multibox_bottoms(2)
    loc, conf, truth = loc[:1], conf[:1], truth[:, :, truth[0, 0, :, 0] == 0]
    moves = np.random.default_rng(3).normal(size=(30, 4))
    boxes, variances = priors.reshape(2, 30, 4)
    sizes, centers = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2
    centers = centers + moves[:, :2] * variances[:, :2] * sizes
    half = np.exp(moves[:, 2:] * variances[:, 2:]) * sizes / 2
    there = floats([np.concatenate([centers - half, centers + half], 1), variances])
    there = there.reshape(1, 2, -1)

    def loss(text: str, *bottoms: np.ndarray) -> np.ndarray:
        text = f"num_classes: 3 code_type: CENTER_SIZE objectness_score: 0.01 {text}"
        return run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *bottoms)[0]

    sure, easy = (np.tile([1 - p, p], 30)[None] for p in (0.9, 0.001))
    first = floats(moves)[None].reshape(1, -1)
    moved = loss("", loc, conf, there, truth)
    assert abs(moved - loss("", loc, conf, priors, truth)) > 1e-3
    found = loss("", loc, conf, priors, truth, floats(sure), first)
    np.testing.assert_allclose(found, moved, rtol=1e-4)
    found = loss("", loc, conf, priors, truth, floats(easy), first)
    without = loss("neg_pos_ratio: 0.0001", loc, conf, there, truth)
    np.testing.assert_allclose(found, without, rtol=1e-4)
    with pytest.raises(ShapeError, match="60 scores of being an object and 120 offsets"):
        loss("", loc, conf, priors, truth, first, first)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "needs num_classes"),
        ("num_classes: 4", r"the 30 priors need 120 offsets and 120 scores"),
        ("num_classes: 3 share_location: false", "mining_type: NONE"),
        ("num_classes: 3 do_neg_mining: false mining_type: MAX_NEGATIVE", "contradict"),
        ("num_classes: 3 background_label_id: 2", "has the label 2"),
    ],
)
def test_multibox_loss_refuses_what_does_not_fit(text: str, error: str) -> None:
    bottoms = multibox_bottoms(1)
    bottoms[3][0, 0, 0, 1] = 2
    with pytest.raises(CaffeError, match=error):
        run(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }}', *bottoms)
