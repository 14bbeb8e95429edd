"""`caffe export`: a net's file and its weights in, other programs' files out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.helpers.command import caffe_command
from tests.helpers.exported import run_onnx
from tests.helpers.nets import NET

pytest.importorskip("onnxruntime")

run = partial(caffe_command, "export")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    text, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    text.write_text(NET)
    net = caffe.Net(NET, caffe.TEST)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = np.random.default_rng(0).uniform(0.5, 1, blob.shape)
    net.save(weights)
    return text, weights


def test_a_net_and_its_weights(files: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "net.onnx"
    result = run(*files, "-o", target, "--shape", "data=2,3,9,9", "--dynamic-batch", "--fold")
    assert result.exit_code == 0, result.stderr
    assert "net.onnx written" in result.stdout
    net = caffe.Net(str(files[0]), caffe.TEST, weights=str(files[1]))
    data = np.random.default_rng(1).normal(size=(1, 3, 9, 9)).astype(np.float32)
    wanted = net.forward(data=data)["sum"]
    (found,) = run_onnx(str(target), {"data": data})
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_without_weights_it_says_what_is_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(files[0], "-o", tmp_path / "net.onnx", "--outputs", "relu,left", "--opset", 18)
    assert result.exit_code == 0
    assert "fillers" in result.stderr


def test_what_does_not_go_together(files: tuple[Path, Path], tmp_path: Path) -> None:
    assert "-o FILE" in run(*files).stderr
    assert "only with" in run(*files, "-o", tmp_path / "n.onnx", "--mean", "1,2,3").stderr
    assert "must end in" in run(*files, "-o", tmp_path / "net.tflite").stderr
    told = run(*files, "-o", tmp_path / "n.onnx", "--shape", "dta=1,3,9,9")
    assert "'dta' is no input; there are data" in told.stderr
    assert not (tmp_path / "n.onnx").exists()
