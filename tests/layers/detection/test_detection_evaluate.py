"""Layers that judge detections against the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe.errors import CaffeError, NetError, ParseError, ShapeError
from tests.helpers.boxes import overlap
from tests.helpers.formulas import sigmoid, softmax
from tests.helpers.running import floats, run
from tests.helpers.yolo import TEXT, predictions, true_rows


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 0.7, size=(count, 2))
    return np.concatenate([corner, corner + rng.uniform(0.1, 0.3, size=(count, 2))], 1)


def reference_evaluation(
    found: np.ndarray, truth: np.ndarray, classes: int, threshold: float, hard_counts: bool
) -> np.ndarray:
    rows = []
    for c in range(1, classes):
        own = truth[truth[:, 1] == c]
        count = len(own) if hard_counts else int((own[:, 7] == 0).sum())
        rows.append([-1, c, count, -1, -1])
    for image in sorted(set(found[:, 0])):
        for label in sorted(set(found[found[:, 0] == image][:, 1])):
            own = found[(found[:, 0] == image) & (found[:, 1] == label)]
            right = truth[(truth[:, 0] == image) & (truth[:, 1] == label)]
            if len(right):
                own = own[np.argsort(-own[:, 2], kind="stable")]
            taken: set[int] = set()
            for row in own:
                each = [overlap(row[3:], t[3:7]) for t in right]
                best = int(np.argmax(each)) if each else -1
                marks = [0, 1]
                if each and each[best] >= threshold:
                    if not hard_counts and right[best, 7]:
                        marks = [0, 0]
                    elif best not in taken:
                        taken.add(best)
                        marks = [1, 0]
                rows.append([image, label, row[2], *marks])
    return np.array(rows)


@pytest.mark.parametrize("seed", range(12))
def test_detection_evaluate_tells_right_from_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.zeros((9, 8))
    truth[:, 0], truth[:, 1] = np.sort(rng.integers(0, 3, 9)), rng.integers(1, 4, 9)
    truth[:, 3:7], truth[:, 7] = random_boxes(rng, 9), rng.integers(0, 2, 9)
    copies = truth[rng.integers(0, 9, 14)]
    found = np.zeros((20, 7))
    found[:14, :2], found[:14, 3:] = copies[:, :2], copies[:, 3:7] + rng.normal(size=(14, 4)) * 0.02
    found[14:, 0], found[14:, 1] = rng.integers(0, 4, 6), rng.integers(1, 4, 6)
    found[14:, 3:], found[:, 2] = random_boxes(rng, 6), rng.permutation(20) / 20
    hard = bool(seed % 2)
    text = f"num_classes: 4 evaluate_difficult_gt: {str(hard).lower()} overlap_threshold: 0.4"
    (top,) = run(
        f'type: "DetectionEvaluate" detection_evaluate_param {{ {text} }}',
        found[None, None],
        truth[None, None],
        settled=False,
    )
    expected = reference_evaluation(floats(found), floats(truth), 4, 0.4, hard)
    np.testing.assert_allclose(top[0, 0], expected, atol=1e-6)


def test_detection_evaluate_leaves_out_pictures_in_which_nothing_was_found() -> None:
    found = np.full((1, 1, 2, 7), -1.0)
    found[..., 0] = [0, 1]
    truth = np.array([[[[0, 2, 0, 0.1, 0.1, 0.4, 0.4, 0]]]])
    (top,) = run(
        'type: "DetectionEvaluate" detection_evaluate_param { num_classes: 3 }',
        found,
        truth,
        settled=False,
    )
    assert top.tolist() == [[[[-1, 1, 0, -1, -1], [-1, 2, 1, -1, -1]]]]


def test_detection_evaluate_measures_in_the_pictures_own_pixels(tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.txt"
    sizes.write_text("first 100 200\nsecond 300 300\n")
    text = f'num_classes: 2 name_size_file: "{sizes}"'
    layer = f'type: "DetectionEvaluate" detection_evaluate_param {{ {text} }}'
    truth = np.array([[[[0, 1, 0, 0.1, 0.1, 0.4, 0.4, 0]]]])
    (top,) = run(layer, np.array([[[[0, 1, 0.9, 0.1, 0.1, 0.4, 0.4]]]]), truth)
    assert top[0, 0, 1].tolist() == pytest.approx([0, 1, 0.9, 1, 0])
    sizes.write_text("first 100\n")
    with pytest.raises(ParseError, match=r"sizes\.txt:1: a name, a height and a width"):
        run(layer, np.zeros((1, 1, 1, 7)), truth)


def test_detections_of_no_class_are_refused_and_true_boxes_of_none_count_nowhere() -> None:
    layer = 'type: "DetectionEvaluate" detection_evaluate_param { num_classes: 3 }'
    box = [0.1, 0.1, 0.4, 0.4]

    def evaluated(found: int, true: int) -> np.ndarray:
        rows = np.array([[[[0, found, 0.9, *box]]]]), np.array([[[[0, true, 0, *box, 0]]]])
        return floats(run(layer, *rows, settled=False))[0]

    with pytest.raises(CaffeError, match=r"the detections have the label 3: .* from 0 to 2"):
        evaluated(3, 1)
    # The rows say how many true boxes each class has.
    assert evaluated(1, 3)[0, 0, :2, 2].tolist() == [0, 0]
    assert evaluated(1, 1)[0, 0, :2, 2].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "found", "message"),
    [
        ("", (1, 1, 1, 7), "needs num_classes"),
        ("num_classes: 2 overlap_threshold: 0", (1, 1, 1, 7), "overlap_threshold"),
        ("num_classes: 2", (1, 1, 1, 6), "bottom 0 must have the shape"),
    ],
)
def test_detection_evaluate_refuses_what_does_not_fit(
    text: str, found: tuple[int, ...], message: str
) -> None:
    with pytest.raises((NetError, ShapeError), match=message):
        run(
            f'type: "DetectionEvaluate" detection_evaluate_param {{ {text} }}',
            np.zeros(found),
            np.zeros((1, 1, 1, 8)),
        )


@pytest.mark.parametrize("seed", range(6))
def test_eval_detection_counts_and_judges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, rows = floats(2 * rng.normal(size=(2, 27, 4, 5))), true_rows(rng, 2, 4)
    kind = ["OBJ", "PROB", "MULTIPLY"][seed % 3]
    nms = [0.4, -1][seed // 3]
    text = f"num_object: 3 num_class: 4 score_type: {kind} nms: {nms} threshold: 0.3 {TEXT}"
    (top,) = run(f'type: "EvalDetection" eval_detection_param {{ {text} }}', x, rows.reshape(2, -1))
    assert top.shape == (2, 4 + 4 * 5 * 3 * 4)
    for b in range(2):
        truth = [row for row in rows[b] if row[1]]
        counts = [sum(row[0] == c for row in truth) for c in range(4)]
        assert top[b, :4].tolist() == counts
        found = []
        for _, box, v in predictions(x[b]):
            shares = softmax(v[5:])
            score = {
                "OBJ": sigmoid(v[4]),
                "PROB": shares.max(),
                "MULTIPLY": sigmoid(v[4]) * shares.max(),
            }[kind]
            found.append((int(shares.argmax()), score, box))
        found.sort(key=lambda f: -f[1])
        if nms >= 0:
            kept: list[tuple[int, float, np.ndarray]] = []
            for f in found:
                if all(overlap(f[2], k[2]) <= nms for k in kept):
                    kept.append(f)
            found = kept
        expected = []
        for label in range(4):
            right = [
                np.array([r[1] - r[3] / 2, r[2] - r[4] / 2, r[1] + r[3] / 2, r[2] + r[4] / 2])
                for r in truth
                if r[0] == label
            ]
            taken: set[int] = set()
            for _, score, box in (f for f in found if f[0] == label and f[1] >= 0.005):
                marks = [0, 0] if right else [0, 1]
                each = [overlap(box, r) for r in right]
                if each and max(each) >= 0.3:
                    best = int(np.argmax(each))
                    marks = [0, 1] if best in taken else [1, 0]
                    taken.add(best)
                expected.append([label, score, *marks])
        given = top[b, 4:].reshape(-1, 4)
        np.testing.assert_allclose(given[: len(expected)], expected, atol=1e-4)
        assert not given[len(expected) :].any()
