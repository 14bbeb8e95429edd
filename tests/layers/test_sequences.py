"""Reading text: LSTMs of the OCR forks, CTC and how right a reading is."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError
from caffe.layers.sequences import edit_distance
from tests.helpers.running import close, run


def test_continuation_indicator() -> None:
    text = 'type: "ContinuationIndicator" continuation_indicator_param { time_step: 3 axis: 1 }'
    close(run(text, np.zeros((3, 2, 5)))[0], np.array([[0, 0], [1, 1], [1, 1]]))
    text = (
        'type: "ContinuationIndicator" continuation_indicator_param { time_step: 2 batch_size: 1 }'
    )
    close(run(text)[0], np.array([[0], [1]]))


def test_continuation_indicator_without_a_bottom_in_a_net() -> None:
    net = caffe.Net(
        """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 1 } } }
        layer { name: "c" type: "ContinuationIndicator" top: "c"
                continuation_indicator_param { time_step: 2 batch_size: 1 } }
        layer { name: "a" type: "Add" bottom: "x" bottom: "c" top: "y" }""",
        caffe.TEST,
    )
    for value in (1, 2):
        found = net.forward(x=np.full((2, 1), value))["y"]
        assert found.tolist() == [[value], [value + 1]]


def lstm(x: np.ndarray, w_x: np.ndarray, w_h: np.ndarray, bias: np.ndarray) -> np.ndarray:
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    count, size = x.shape[1], w_h.shape[1]
    hidden = cell = np.zeros((count, size))
    tops = []
    for step in x:
        i, f, o, g = np.split(step @ w_x.T + bias + hidden @ w_h.T, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        tops.append(hidden)
    return np.array(tops)


def test_lstm_of_the_ocr_forks() -> None:
    rng = np.random.default_rng(0)
    steps, count, inputs, size = 4, 3, 5, 2
    x = rng.normal(size=(steps, count, inputs))
    params = [rng.normal(size=s) for s in ((4 * size, inputs), (4 * size, size), (4 * size,))]
    wanted = lstm(x, *params)
    text = f'type: "Lstm" lstm_param {{ num_output: {size} clipping_threshold: 0.1 }}'
    close(run(text, x, params=params)[0], wanted)
    text = f'type: "Lstm" lstm_param {{ num_output: {size} batch_size: {count} }}'
    flat = run(text, x.reshape(-1, inputs), params=params)[0]
    close(flat, wanted.reshape(-1, size))
    # Markers: the second sequence begins anew at step 2.
    marks = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 1], [1, 1, 1]])
    found = run(f'type: "Lstm" lstm_param {{ num_output: {size} }}', x, marks, params=params)[0]
    close(found[:, 0], wanted[:, 0])
    close(found[2:, 1], lstm(x[2:, 1:2], *params)[:, 0])


def test_ctc_loss_is_that_of_all_paths() -> None:
    rng = np.random.default_rng(0)
    steps, count, classes = 4, 2, 3
    x = rng.normal(size=(steps, count, classes))
    labels = np.array([[1, 2, 0], [1, 1, 0]])
    odds = np.exp(x) / np.exp(x).sum(2, keepdims=True)
    total = 0.0
    for n in range(count):
        wanted = [label for label in labels[n] if label]
        chance = 0.0
        for path in np.ndindex(*[classes] * steps):
            merged = [c for c, last in zip(path, (None, *path), strict=False) if c != last]
            if [c for c in merged if c] == wanted:
                chance += math.prod(odds[t, n, c] for t, c in enumerate(path))
        total -= math.log(chance)
    text = 'type: "CtcLoss" ctc_loss_param { alphabet_size: 3 time_step: 4 }'
    close(run(text, x, labels)[0], np.array(total / count), 1e-4)
    with pytest.raises(CaffeError, match="between 0 and 2"):
        run(text, x, labels + 2)


def test_ctc_greedy_decoder() -> None:
    path = np.array([[1, 1, 0, 1, 2, 2], [2, 0, 0, 0, 1, 1]])
    x = np.eye(3)[path].transpose(1, 0, 2)
    marks = np.ones((6, 2))
    marks[0] = 0
    marks[5, 1] = 0
    right = np.full((6, 2), -1.0)
    right[:3, 0] = 1, 1, 2
    right[:1, 1] = 2
    param = "ctc_decoder_param { blank_index: 0 }"
    text = f'type: "CTCGreedyDecoder" {param}'
    labels, score, accuracy = run(text, x, marks, right, tops=3)
    assert labels.reshape(2, 6).tolist() == [[1, 1, 2, -1, -1, -1], [2, 1, -1, -1, -1, -1]]
    assert score.ravel().tolist() == [-6, -5]
    close(accuracy.ravel(), np.array([0.75]))
    assert run(text, x)[0][1, :3, 0, 0].tolist() == [2, 1, -1]


def test_edit_distance() -> None:
    assert edit_distance("kitten", "sitting") == 3  # type: ignore[arg-type]
    assert edit_distance([], [1, 2]) == 2


def test_labelsequence_accuracy() -> None:
    path = np.array([[0, 1, 1, 0, 2], [1, 0, 0, 0, 0]])
    labels = np.array([[1, 2, 0], [1, 1, 0]])
    assert run('type: "LabelsequenceAccuracy"', np.eye(3)[path], labels)[0] == 0.5
