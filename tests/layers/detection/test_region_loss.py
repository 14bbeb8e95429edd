"""YOLO v2's loss, cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from tests.helpers.boxes import overlap
from tests.helpers.formulas import sigmoid, softmax
from tests.helpers.running import floats, run
from tests.helpers.yolo import BIASES, TEXT, predictions, true_rows


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


def test_yolo_layers_refuse_true_boxes_that_do_not_fit() -> None:
    text = f'type: "RegionLoss" region_loss_param {{ num: 3 num_class: 4 {TEXT} }}'
    x = np.zeros((1, 27, 4, 5))
    with pytest.raises(ShapeError, match="rows of 5 numbers"):
        run(text, x, np.zeros((1, 7)))
    with pytest.raises(CaffeError, match="class 9"):
        run(text, x, np.array([[9, 0.5, 0.5, 0.1, 0.1]]))
    with pytest.raises(NetError, match="6 biases"):
        run('type: "RegionLoss" region_loss_param { num: 3 num_class: 4 }', x, np.zeros((1, 5)))
