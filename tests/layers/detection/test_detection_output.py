"""DetectionOutput against what SSD's paper says, box by box."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import CaffeError, NetError, ShapeError
from tests.helpers.boxes import random_priors, suppress
from tests.helpers.running import floats, run


def decoded(code: str, prior: np.ndarray, variance: np.ndarray, loc: np.ndarray) -> np.ndarray:
    d = variance * loc
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        return prior + d
    if code == "CORNER_SIZE":
        return prior + d * [w, h, w, h]
    x = (prior[0] + prior[2]) / 2 + d[0] * w
    y = (prior[1] + prior[3]) / 2 + d[1] * h
    w, h = w * math.exp(d[2]), h * math.exp(d[3])
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def reference_detections(
    loc: np.ndarray,
    conf: np.ndarray,
    priors: np.ndarray,
    *,
    classes: int,
    shared: bool,
    code: str,
    in_target: bool,
    background: int,
    threshold: float | None,
    nms: float,
    eta: float,
    top_k: int,
    keep_top_k: int,
) -> np.ndarray:
    boxes, variances = priors.reshape(2, -1, 4).astype(np.float64)
    if in_target:
        variances = np.ones_like(variances)
    rows = []
    for n in range(len(loc)):
        found = []
        for c in range(classes):
            if c == background:
                continue
            scores = conf[n].reshape(-1, classes)[:, c]
            offsets = loc[n].reshape(len(boxes), -1, 4)[:, 0 if shared else c]
            order = list(np.argsort(-scores, kind="stable"))
            if threshold is not None:
                order = [i for i in order if scores[i] > threshold]
            if top_k > -1:
                order = order[:top_k]
            own = [decoded(code, boxes[i], variances[i], offsets[i]) for i in order]
            kept = suppress(np.array(own).reshape(-1, 4), nms, eta)
            found += [[n, c, scores[order[k]], *own[k]] for k in kept]
        if -1 < keep_top_k < len(found):
            best = sorted(range(len(found)), key=lambda k: -found[k][2])[:keep_top_k]
            found = [found[k] for k in sorted(best)]
        rows += found
    return np.array(rows or [[n, *[-1] * 6] for n in range(len(loc))])


@pytest.mark.parametrize("seed", range(30))
def test_detection_output_is_what_ssd_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num, count, classes = int(rng.integers(1, 4)), int(rng.integers(1, 60)), int(rng.integers(2, 5))
    settings = {
        "classes": classes,
        "shared": bool(rng.random() < 0.7),
        "code": ["CORNER", "CENTER_SIZE", "CORNER_SIZE"][seed % 3],
        "in_target": bool(rng.random() < 0.3),
        "background": [0, 1, -1][int(rng.integers(3))],
        "threshold": [None, 0.2, 0.9][int(rng.integers(3))],
        "nms": float(rng.choice([0.3, 0.45, 0.8])),
        "eta": float(rng.choice([1, 0.9])),
        "top_k": int(rng.choice([-1, 5, 20])),
        "keep_top_k": int(rng.choice([-1, 0, 7])),
    }
    loc = floats(rng.normal(size=(num, count * 4 * (1 if settings["shared"] else classes))))
    conf = floats(rng.uniform(size=(num, count * classes)))
    priors = random_priors(rng, count)
    text = (
        f"num_classes: {classes} share_location: {str(settings['shared']).lower()} "
        f"code_type: {settings['code']} background_label_id: {settings['background']} "
        f"variance_encoded_in_target: {str(settings['in_target']).lower()} "
        f"keep_top_k: {settings['keep_top_k']} visualize: true visualize_threshold: 0.3 "
        f"nms_param {{ nms_threshold: {settings['nms']} eta: {settings['eta']} "
        f"top_k: {settings['top_k']} }} "
    )
    if settings["threshold"] is not None:
        text += f"confidence_threshold: {settings['threshold']}"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        loc,
        conf,
        priors,
        settled=False,
    )
    expected = reference_detections(loc, conf, priors, **settings)
    assert top.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(top[0, 0], expected, atol=2e-5)


def test_detection_output_gives_a_row_of_minus_one_where_nothing_is_found() -> None:
    priors = random_priors(np.random.default_rng(0), 3)
    text = "num_classes: 2 confidence_threshold: 0.5"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        np.zeros((2, 12)),
        np.zeros((2, 6)),
        priors,
        settled=False,
    )
    assert top.tolist() == [[[[0, *[-1] * 6], [1, *[-1] * 6]]]]


def test_detection_output_keeps_the_earlier_of_equal_scores() -> None:
    far_apart = floats([[[0, 0, 0.1, 0.1, 0.5, 0.5, 0.6, 0.6], [0.1] * 8]])
    text = "num_classes: 2 keep_top_k: 1"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        np.zeros((1, 8)),
        floats([[0, 0.5, 0, 0.5]]),
        far_apart,
    )
    np.testing.assert_allclose(top[0, 0], [[0, 1, 0.5, 0, 0, 0.1, 0.1]], atol=1e-6)


def test_detection_output_with_refined_priors() -> None:
    rng = np.random.default_rng(3)
    count = 20
    priors = random_priors(rng, count)
    loc, first = floats(rng.normal(size=(2, 1, 4 * count)))
    conf = floats(rng.uniform(size=(1, 2 * count)))
    things = floats(rng.uniform(size=(1, 2 * count)))
    text = (
        "num_classes: 2 code_type: CENTER_SIZE confidence_threshold: 0.1 objectness_score: 0.5 "
        "nms_param { nms_threshold: 0.45 }"
    )
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        loc,
        conf,
        priors,
        things,
        first,
        settled=False,
    )
    boxes, variances = priors.reshape(2, -1, 4)
    moved = [
        decoded("CENTER_SIZE", b, v, d)
        for b, v, d in zip(boxes, variances, first.reshape(-1, 4), strict=True)
    ]
    conf = np.where(things.reshape(-1, 2)[:, 1:] < 0.5, 0, conf.reshape(-1, 2)).reshape(1, -1)
    expected = reference_detections(
        loc, conf, floats([np.ravel(moved), variances.ravel()])[None], classes=2, shared=True,
        code="CENTER_SIZE", in_target=False, background=0, threshold=0.1, nms=0.45, eta=1,
        top_k=-1, keep_top_k=-1,
    )  # fmt: skip
    np.testing.assert_allclose(top[0, 0], expected, atol=2e-5)


def test_boxes_of_a_net_that_is_not_trained_stay_finite() -> None:
    text = "num_classes: 2 code_type: CENTER_SIZE"
    (top,) = run(
        f'type: "DetectionOutput" detection_output_param {{ {text} }}',
        np.full((1, 40), 1e6),
        np.full((1, 20), 0.5),
        random_priors(np.random.default_rng(0), 10),
    )
    assert np.isfinite(top).all()


@pytest.mark.parametrize(
    ("loc", "conf", "priors", "message"),
    [
        ((1, 8), (1, 6), (1, 2, 12), r"need 12 offsets .* bottom 0 has the shape \(1, 8\)"),
        ((1, 12), (1, 9), (1, 2, 12), r"need 6 scores .* bottom 1 has the shape \(1, 9\)"),
        ((1, 12), (2, 6), (1, 2, 12), r"bottom 1 has the shape \(2, 6\)"),
        ((1, 12), (1, 6), (1, 12), r"bottom 2 must be PriorBox's top"),
        ((1, 12), (1, 6), (1, 2, 11), r"bottom 2 must be PriorBox's top"),
    ],
)  # fmt: skip
def test_detection_output_refuses_priors_that_do_not_match(
    loc: tuple[int, ...], conf: tuple[int, ...], priors: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=rf"layer 'layer' \(DetectionOutput\): .*{message}"):
        run(
            'type: "DetectionOutput" detection_output_param { num_classes: 2 }',
            np.zeros(loc),
            np.zeros(conf),
            np.zeros(priors),
        )


def test_detection_output_refuses_a_prior_without_width() -> None:
    text = "num_classes: 2 code_type: CENTER_SIZE"
    with pytest.raises(CaffeError, match=r"prior 1 has no width or no height: \(0.5, 0, 0.5, 1\)"):
        run(
            f'type: "DetectionOutput" detection_output_param {{ {text} }}',
            np.zeros((1, 8)),
            np.zeros((1, 4)),
            floats([[[0, 0, 1, 1, 0.5, 0, 0.5, 1], [0.1] * 8]]),
        )


@pytest.mark.parametrize(
    "text",
    ["", "num_classes: 2 nms_param { nms_threshold: -1 }", "num_classes: 2 nms_param { eta: 0 }"],
)
def test_detection_output_refuses_wrong_settings(text: str) -> None:
    with pytest.raises(NetError, match="DetectionOutput"):
        run(
            f'type: "DetectionOutput" detection_output_param {{ {text} }}',
            np.zeros((1, 4)),
            np.zeros((1, 2)),
            np.zeros((1, 2, 4)),
        )
