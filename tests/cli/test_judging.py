"""Top-k shares and overlaps, against counts in plain loops."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.cli.judging import Judge
from caffe.errors import CaffeError
from tests.helpers.command import caffe_command
from tests.helpers.logs import lines

SCORES = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 4, 3, 5] } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: [2, 1, 3, 5] } } }
"""
ACCURACY = """layer { name: "acc" type: "Accuracy" bottom: "x" bottom: "t" top: "acc"
accuracy_param { ignore_label: 3 } }"""
LOSS = """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss" }"""


def net(folder: Path, text: str) -> caffe.Net:
    path = folder / "net.prototxt"
    path.write_text(SCORES + text)
    return caffe.Net(path, caffe.TEST)


@pytest.mark.parametrize(("text", "ignored"), [(ACCURACY + LOSS, 3), (LOSS, None)])
def test_all_batches_count_together(tmp_path: Path, text: str, ignored: int | None) -> None:
    tested = net(tmp_path, text)
    judge = Judge(tested, [1, 2], overlaps=True)
    rng = np.random.default_rng(0)
    hits, count = {1: 0, 2: 0}, 0
    right, either = np.zeros(4), np.zeros(4)
    for _ in range(3):
        x = tested.blobs["x"].data[...] = rng.normal(size=(2, 4, 3, 5)).astype(np.float32)
        t = tested.blobs["t"].data[...] = rng.integers(0, 4, (2, 1, 3, 5))
        tested.forward()
        judge.add()
        for n, h, w in np.ndindex(2, 3, 5):
            label = int(t[n, 0, h, w])
            if label == ignored:
                continue
            order = np.argsort(-x[n, :, h, w])
            count += 1
            for k in hits:
                hits[k] += label in order[:k]
            right[label] += order[0] == label
            either[label] += 1
            either[order[0]] += order[0] != label
    name = "acc" if ignored else "loss"
    told = dict(line.split(" = ") for line in judge.lines())
    assert float(told[f"top-1 ({name})"]) == pytest.approx(hits[1] / count, rel=1e-4)
    assert float(told[f"top-2 ({name})"]) == pytest.approx(hits[2] / count, rel=1e-4)
    overlap = np.mean([r / e for r, e in zip(right, either, strict=True) if e])
    assert float(told[f"mIoU ({name})"]) == pytest.approx(overlap, rel=1e-4)


def test_what_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaffeError, match="no layer that compares scores with labels"):
        Judge(net(tmp_path, ""), [1], overlaps=False)
    with pytest.raises(CaffeError, match="top-k asks for 5 of 4 classes"):
        Judge(net(tmp_path, LOSS), [1, 5], overlaps=False)


def test_the_command_tells_them_last(tmp_path: Path) -> None:
    data = """layer { name: "d" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: [2, 3] } shape { dim: [2] } data_filler { type: "gaussian" std: 1 }
        data_filler { type: "constant" value: 1 } } }"""
    path = tmp_path / "net.prototxt"
    path.write_text(data + LOSS)
    run = partial(caffe_command, "test")
    result = run("-model", path, "-iterations", 2, "--top-k", "1,3", "--miou")
    assert result.exit_code == 0, result.stderr
    told = lines(result.stderr)
    assert told[-2] == "top-3 (loss) = 1"
    assert told[-1].startswith("mIoU (loss) = ")
    assert run("-model", path, "--top-k", "one").exit_code == 2
