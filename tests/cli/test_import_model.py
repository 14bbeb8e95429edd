"""`caffe import`: an ONNX model in, a net's two files out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.helpers.command import caffe_command
from tests.helpers.onnx_models import numbers, one

onnx = pytest.importorskip("onnx")

run = partial(caffe_command, "import")


def test_both_files_are_written(tmp_path: Path) -> None:
    proto = one("Conv", ("batch", 3, "h", "w"), arrays=[numbers(4, 3, 3, 3)])
    onnx.save(proto, tmp_path / "model.onnx")
    text, weights = tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"
    options = ("-o", text, weights, "--target", "opencv", "--fold", "--outputs", "y0")
    told = run(tmp_path / "model.onnx", *options)
    assert told.exit_code == 1
    assert "--shape x0=" in told.stderr
    assert not text.exists()
    told = run(tmp_path / "model.onnx", *options, "--shape", "x0=1,3,8,8")
    assert told.exit_code == 0, told.stderr
    assert "deploy.prototxt (2 layers)" in told.stdout
    net = caffe.Net(str(text), caffe.TEST, weights=str(weights))
    np.testing.assert_array_equal(net.params["y0"][0].data, numbers(4, 3, 3, 3))


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    assert "-o PROTOTXT CAFFEMODEL" in run(tmp_path / "model.onnx").stderr
    told = run(tmp_path / "model.onnx", "-o", "a.prototxt", "b.caffemodel", "--target", "x")
    assert "there are bvlc, opencv, mnn, rknn, sophon, ascend, nnie" in told.stderr


def test_the_help_names_all_targets() -> None:
    assert "|".join(caffe.imports.TARGETS) in run("--help").stdout.replace("\n", "")


def test_a_module_by_its_name(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    code = "import torch\n\n\ndef small():\n    return torch.nn.Conv2d(3, 4, 3)\n\n\nnumber = int\n"
    (tmp_path / "mine.py").write_text(code)
    name, options = f"{tmp_path / 'mine.py'}:small", ("-o", tmp_path / "a.prototxt")
    options = (*options, tmp_path / "a.caffemodel")
    assert "needs --shape" in run(name, *options).stderr
    told = run(f"{tmp_path / 'mine.py'}:number", *options, "--shape", "x=1,3,8,8")
    assert "number is no torch.nn.Module" in told.stderr
    told = run(f"{tmp_path / 'mine.py'}:none", *options, "--shape", "x=1,3,8,8")
    assert "none gives no module" in told.stderr
    told = run(name, *options, "--shape", "x=1,3,8,8")
    assert told.exit_code == 0, told.stderr
    assert "(2 layers)" in told.stdout
