"""Layers that say how good detections and labelled pixels are, and YOLO v2's loss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, NetError, ParseError, ShapeError
from tests.helpers.running import floats, run


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    sizes = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return float(w * h / (sum(sizes) - w * h))


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


# YOLO v2: the map's predictions, written out place by place.


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()


BIASES = [1.0, 1.5, 2.0, 0.7, 3.0, 2.5]
TEXT = " ".join(f"biases: {b}" for b in BIASES)


def predictions(x: np.ndarray) -> list[tuple[tuple[int, int, int], np.ndarray, np.ndarray]]:
    """For each place and box: where, the box's corners, and the raw values."""
    result = []
    _, height, width = x.shape
    values = x.reshape(3, -1, height, width)
    for j in range(height):
        for i in range(width):
            for n in range(3):
                v = values[n, :, j, i]
                cx, cy = (i + sigmoid(v[0])) / width, (j + sigmoid(v[1])) / height
                w = math.exp(v[2]) * BIASES[2 * n] / width
                h = math.exp(v[3]) * BIASES[2 * n + 1] / height
                box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                result.append(((j, i, n), box, v))
    return result


def true_rows(rng: np.random.Generator, images: int, classes: int) -> np.ndarray:
    """Rows of class, centre, width and height, two or three for each picture of 30."""
    rows = np.zeros((images, 30, 5))
    for n in range(images):
        for t in range(2 + n):
            rows[n, t] = rng.uniform([0, 0.2, 0.2, 0.1, 0.1], [classes, 0.8, 0.8, 0.5, 0.5])
            rows[n, t, 0] //= 1
    return rows


def corners_of(row: np.ndarray) -> np.ndarray:
    """The corners of a row of class, centre, width and height."""
    _, x, y, w, h = row
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def reference_region_loss(
    x: np.ndarray, rows: np.ndarray, scales: dict[str, float], rescore: bool, bias_match: bool
) -> tuple[float, np.ndarray]:
    classes = x.shape[1] // 3 - 5
    height, width = x.shape[2:]
    diff = np.zeros(x.shape).reshape(len(x), 3, -1, height, width)
    parts = dict.fromkeys(("class", "box", "object", "none"), 0.0)
    count = 0
    for b in range(len(x)):
        truth = [row for row in rows[b] if row[1]]
        corners = [corners_of(row) for row in truth]
        every = {place: (box, v) for place, box, v in predictions(x[b])}
        for (j, i, n), (box, v) in every.items():
            thing = sigmoid(v[4])
            if max(overlap(box, c) for c in corners) <= scales["thresh"]:
                parts["none"] += scales["noobject"] * thing**2
                diff[b, n, 4, j, i] = scales["noobject"] * thing * thing * (1 - thing)
        for row, corner in zip(truth, corners, strict=True):
            i, j = int(row[1] * width), int(row[2] * height)
            each = []
            for n in range(3):
                w, h = BIASES[2 * n] / width, BIASES[2 * n + 1] / height
                if not bias_match:
                    box = every[j, i, n][0]
                    w, h = box[2] - box[0], box[3] - box[1]
                form = np.array([0, 0, 0, w, h])
                each.append(overlap(corners_of(form), corners_of([0, 0, 0, *row[3:]])))
            n = int(np.argmax(each))
            box, v = every[j, i, n]
            wanted = [
                row[1] * width - i,
                row[2] * height - j,
                math.log(row[3] * width / BIASES[2 * n]),
                math.log(row[4] * height / BIASES[2 * n + 1]),
            ]
            for k in range(4):
                a = sigmoid(v[k]) if k < 2 else v[k]
                parts["box"] += scales["coord"] * (wanted[k] - a) ** 2
                diff[b, n, k, j, i] = (
                    -scales["coord"] * (wanted[k] - a) * (a * (1 - a) if k < 2 else 1)
                )
            thing, target = sigmoid(v[4]), overlap(box, corner) if rescore else 1
            parts["object"] += scales["object"] * (target - thing) ** 2
            diff[b, n, 4, j, i] = -scales["object"] * (target - thing) * thing * (1 - thing)
            shares = softmax(v[5:])
            for c in range(classes):
                error = (c == row[0]) - shares[c]
                parts["class"] += scales["class"] * error**2
                diff[b, n, 5 + c, j, i] = -scales["class"] * error
            count += 1
    by = count + 0.01
    loss = (parts["class"] + parts["box"] + parts["object"]) / by
    return loss + parts["none"] / (height * width * 3 * len(x) - by), diff.reshape(x.shape) / len(x)


@pytest.mark.parametrize("seed", range(4))
def test_region_loss_is_darknets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, rows = floats(0.7 * rng.normal(size=(2, 3 * 9, 4, 5))), true_rows(rng, 2, 4)
    rescore, bias_match = bool(seed % 2), seed < 2
    text = f"""region_loss_param {{ num: 3 num_class: 4 {TEXT} thresh: 0.3 rescore: {int(rescore)}
        bias_match: {int(bias_match)} object_scale: 5 noobject_scale: 0.5 class_scale: 2
        coord_scale: 1.5 }}"""
    net = caffe.Net(
        f"""force_backward: true
        input: "x" input_shape {{ dim: 2 dim: 27 dim: 4 dim: 5 }}
        input: "l" input_shape {{ dim: 2 dim: 150 }}
        layer {{ name: "r" type: "RegionLoss" bottom: "x" bottom: "l" top: "loss"
                 propagate_down: true propagate_down: false {text} }}""",
        caffe.TEST,
    )
    loss = net.forward(x=x, l=rows.reshape(2, -1))["loss"]
    scales = {"thresh": 0.3, "object": 5, "noobject": 0.5, "class": 2, "coord": 1.5}
    expected, diff = reference_region_loss(x, rows, scales, rescore, bias_match)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, diff, atol=1e-5)


def test_region_loss_takes_ssds_rows_too() -> None:
    rng = np.random.default_rng(0)
    x, rows = rng.normal(size=(2, 27, 4, 5)), true_rows(rng, 2, 4)
    ssd = [
        [n, r[0] + 1, 0, r[1] - r[3] / 2, r[2] - r[4] / 2, r[1] + r[3] / 2, r[2] + r[4] / 2, 0]
        for n in range(2)
        for r in rows[n]
        if r[1]
    ]
    text = f'type: "RegionLoss" region_loss_param {{ num: 3 num_class: 4 {TEXT} }}'
    (one,) = run(text, x, rows.reshape(2, -1))
    (other,) = run(text, x, np.array(ssd)[None, None])
    assert float(one) == pytest.approx(float(other), rel=1e-4)


def test_early_on_boxes_without_objects_are_held_where_they_start() -> None:
    x, rows = np.ones((1, 27, 4, 5)), true_rows(np.random.default_rng(0), 1, 4)
    text = f'type: "RegionLoss" region_loss_param {{ num: 3 num_class: 4 {TEXT} }}'
    (late,) = run(text, x, rows.reshape(1, -1))
    (early,) = run(text, x, rows.reshape(1, -1), phase=caffe.TRAIN)
    assert float(early) > float(late)


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


def test_yolo_layers_refuse_true_boxes_that_do_not_fit() -> None:
    text = f'type: "RegionLoss" region_loss_param {{ num: 3 num_class: 4 {TEXT} }}'
    x = np.zeros((1, 27, 4, 5))
    with pytest.raises(ShapeError, match="rows of 5 numbers"):
        run(text, x, np.zeros((1, 7)))
    with pytest.raises(CaffeError, match="class 9"):
        run(text, x, np.array([[9, 0.5, 0.5, 0.1, 0.1]]))
    with pytest.raises(NetError, match="6 biases"):
        run('type: "RegionLoss" region_loss_param { num: 3 num_class: 4 }', x, np.zeros((1, 5)))


# Labelled pixels.


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
