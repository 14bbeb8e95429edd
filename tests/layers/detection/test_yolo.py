"""YOLO's detections, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import CaffeError
from tests.helpers.boxes import overlap
from tests.helpers.formulas import sigmoid
from tests.helpers.running import floats, run


def thinned(found: list[tuple[int, float, np.ndarray]], threshold: float) -> list[list[float]]:
    kept: list[tuple[int, float, np.ndarray]] = []
    for one in sorted(found, key=lambda f: -f[1]):
        if all(overlap(one[2], other[2]) < threshold for other in kept):
            kept.append(one)
    return [[label, score, *box] for label, score, box in kept]


@pytest.mark.parametrize("seed", range(4))
def test_yolo_v2_detections(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, classes = 2, 3
    x = floats(rng.normal(size=(2, boxes * (5 + classes), 3, 4)))
    biases = [1.5, 2.0, 3.0, 1.0]
    text = f"num_classes: {classes} num_box: {boxes} confidence_threshold: 0.2 nms_threshold: 0.4 "
    text += " ".join(f"biases: {b}" for b in biases)
    (top,) = run(
        f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {text} }}', x, settled=False
    )
    expected = []
    for n in range(2):
        found = []
        for j in range(3):
            for i in range(4):
                for b in range(boxes):
                    v = x[n, b * (5 + classes) :][: 5 + classes, j, i].astype(np.float64)
                    cx, cy = (i + sigmoid(v[0])) / 4, (j + sigmoid(v[1])) / 3
                    w, h = (
                        math.exp(v[2]) * biases[2 * b] / 4,
                        math.exp(v[3]) * biases[2 * b + 1] / 3,
                    )
                    p = np.exp(v[5:]) / np.exp(v[5:]).sum()
                    score = sigmoid(v[4]) * p.max()
                    if score >= 0.2:
                        box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                        found.append((int(p.argmax()) + 1, score, box))
        expected += [[n, *row] for row in thinned(found, 0.4)]
    np.testing.assert_allclose(top[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_yolo_v3_detections(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, masks, scales = 2, [[1, 2], [0, 1]], [32, 16]
    maps = [floats(rng.normal(size=(1, 2 * (5 + classes), 2, 3))) for _ in range(1)]
    maps.append(floats(rng.normal(size=(1, 2 * (5 + classes), 4, 6))))
    biases = [10.0, 14.0, 23.0, 27.0, 37.0, 58.0]
    text = f"num_classes: {classes} num_box: 2 confidence_threshold: 0.4 nms_threshold: 0.45 "
    text += " ".join(f"biases: {b}" for b in biases) + " mask_group_num: 2 "
    text += " ".join(f"mask: {m}" for group in masks for m in group) + " "
    text += " ".join(f"anchors_scale: {s}" for s in scales)
    (top,) = run(
        f'type: "Yolov3DetectionOutput" yolov3_detection_output_param {{ {text} }}',
        *maps,
        settled=False,
    )
    found = []
    for x, mask, scale in zip(maps, masks, scales, strict=True):
        height, width = x.shape[2:]
        for j in range(height):
            for i in range(width):
                for b, m in enumerate(mask):
                    v = x[0, b * (5 + classes) :][: 5 + classes, j, i].astype(np.float64)
                    cx, cy = (i + sigmoid(v[0])) / width, (j + sigmoid(v[1])) / height
                    w = math.exp(v[2]) * biases[2 * m] / (width * scale)
                    h = math.exp(v[3]) * biases[2 * m + 1] / (height * scale)
                    box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                    for c in range(classes):
                        score = sigmoid(v[4]) * sigmoid(v[5 + c])
                        if score > 0.4:
                            found.append((c + 1, score, box))
    expected = [[0, *row] for row in thinned(found, 0.45)]
    np.testing.assert_allclose(top[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_region_yolo_activates_and_flattens() -> None:
    x = np.random.default_rng(0).normal(size=(2, 2 * 8, 3, 2))
    (top,) = run('type: "RegionYolo" region_yolo_param { num: 2 classes: 3 coords: 4 }', x)
    parts = x.reshape(2, 2, 8, 3, 2).copy()
    for channel in (0, 1, 4):
        parts[:, :, channel] = 1 / (1 + np.exp(-parts[:, :, channel]))
    powers = np.exp(parts[:, :, 5:])
    parts[:, :, 5:] = powers / powers.sum(2, keepdims=True)
    np.testing.assert_allclose(top, parts.reshape(2, -1), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "YoloDetectionOutput" yolo_detection_output_param { num_box: 1 num_classes: 1 }',
         "need 2 times biases"),
        ('type: "YoloDetectionOutput" yolo_detection_output_param { num_box: 1 num_classes: 9 '
         "biases: 1 biases: 1 }", r"need maps of shape \(1, 14,"),
        ('type: "Reorg" reorg_param { stride: 3 }', "do not divide"),
    ],
)  # fmt: skip
def test_yolo_layers_refuse_maps_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(CaffeError, match=message):
        run(text, np.zeros((1, 6, 4, 4)))


@pytest.mark.parametrize("seed", range(3))
def test_tensorrt_yolo_counts_its_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = [floats(rng.normal(size=(2, 24, side, side + 1)) * 2) for side in (2, 4, 8)]
    (top,) = run('type: "Yolo"', *maps)
    priors = [(116, 90, 156, 198, 373, 326), (30, 61, 62, 45, 59, 119), (10, 13, 16, 30, 33, 23)]
    for n in range(2):
        rows = []
        for x, prior in zip(maps, priors, strict=True):
            height, width = x.shape[2:]
            for i, j, k in np.ndindex(height, width, 3):
                values = x[n, 8 * k : 8 * k + 8, i, j]
                scores = np.array([sigmoid(v) * sigmoid(values[4]) for v in values[5:]])
                if scores.max() > 0.5:
                    middle = [(j + sigmoid(values[0])) / width, (i + sigmoid(values[1])) / height]
                    sides = np.exp(values[2:4]) * prior[2 * k : 2 * k + 2]
                    rows.append([*middle, *sides, scores.argmax(), scores.max()])
        found = top[n].ravel()
        assert found[0] == len(rows) > 0
        np.testing.assert_allclose(found[1 : 1 + 6 * len(rows)], np.ravel(rows), rtol=1e-4)
        assert not found[1 + 6 * len(rows) :].any()
