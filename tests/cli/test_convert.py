"""`caffe convert`: weights in one form in, in another out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from caffe.weights.files import read_weights
from tests.helpers.command import caffe_command
from tests.helpers.exported import Run
from tests.helpers.nets import NET

pytest.importorskip("h5py")
pytest.importorskip("safetensors")

run = partial(caffe_command, "convert")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "net.caffemodel"
    Run(NET, 0).net.save(path)
    return path


def blobs(path: Path) -> dict[str, list[np.ndarray]]:
    return {
        layer.name: [blob.data.reshape(blob.shape) for blob in layer.blobs if blob is not None]
        for layer in read_weights(path)
        if layer.blobs
    }


@pytest.mark.parametrize("half", [False, True])
def test_round_trip_through_every_form(weights: Path, tmp_path: Path, half: bool) -> None:
    wanted, last = blobs(weights), weights
    for ending in (".caffemodel.h5", ".safetensors", ".caffemodel"):
        target = tmp_path / f"new{ending}"
        result = run(last, target, *["--half"] * half)
        assert result.exit_code == 0, result.stderr
        found = blobs(target)
        assert found.keys() == wanted.keys()
        for name, arrays in wanted.items():
            for array, other in zip(arrays, found[name], strict=True):
                assert other.shape == array.shape
                np.testing.assert_allclose(other, array, rtol=1e-3 if half else 0, atol=1e-6)
        last = target
    assert caffe.Net(NET, caffe.TEST, weights=str(last)).weights_report is not None
    assert (last.stat().st_size < weights.stat().st_size * 0.7) == half


def test_a_net_takes_safetensors(weights: Path, tmp_path: Path) -> None:
    run(weights, tmp_path / "net.safetensors")
    net = caffe.Net(NET, caffe.TEST, weights=str(tmp_path / "net.safetensors"))
    np.testing.assert_array_equal(net.params["conv"][0].data, blobs(weights)["conv"][0])


def test_without_its_batch_norms(weights: Path, tmp_path: Path) -> None:
    text, target = tmp_path / "net.prototxt", tmp_path / "small.caffemodel"
    text.write_text(NET)
    result = run(weights, target, "--net", text, "--fold-batchnorm", tmp_path / "small.prototxt")
    assert result.exit_code == 0, result.stderr
    before = caffe.Net(NET, caffe.TEST, weights=str(weights))
    after = caffe.Net(str(tmp_path / "small.prototxt"), caffe.TEST, weights=str(target))
    assert not {"BatchNorm", "Scale"} & {layer.type for layer in after.layers}
    data = np.random.default_rng(0).normal(size=(1, 3, 9, 9)).astype(np.float32)
    np.testing.assert_allclose(
        after.forward(data=data)["sum"], before.forward(data=data)["sum"], rtol=1e-3, atol=1e-3
    )


def test_the_folded_net_and_its_weights_go_together(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    target, text = tmp_path / "none" / "small.caffemodel", tmp_path / "small.prototxt"
    result = run(weights, target, "--net", tmp_path / "net.prototxt", "--fold-batchnorm", text)
    assert "cannot be written" in result.stderr
    assert not text.exists()


def test_what_is_refused(weights: Path, tmp_path: Path) -> None:
    assert "the name must end in" in run(weights, tmp_path / "net.bin").stderr
    assert "--net goes with --by" in run(weights, tmp_path / "n.h5", "--net", "net.prototxt").stderr
    net = caffe.Net(NET, caffe.TEST)
    net.params["conv"][0].data[0] = 1e6
    net.save(weights)
    told = run(weights, tmp_path / "net.h5", "--half").stderr
    assert "layer 'conv', blob 0: 1e+06 is too large for 16 bits" in told
    assert not (tmp_path / "net.h5").exists()


@pytest.mark.parametrize("by", ["name", "order"])
def test_tensors_of_a_module_of_pytorch(tmp_path: Path, by: str) -> None:
    text = tmp_path / "net.prototxt"
    text.write_text(NET)
    whole = Run(NET, 0).net
    # In PyTorch a BatchNorm and the Scale behind it are one module.
    module = {"scale": "bn"}
    roles = {"bn": ("running_mean", "running_var")}
    state = {
        f"{module.get(name, name)}.{role}": torch.from_numpy(blob.data.copy())
        for name, parameters in whole.params.items()
        for role, blob in zip(roles.get(name, ("weight", "bias")), parameters, strict=False)
    }
    whole.params["bn"][2].data[...] = 1
    torch.save(state, tmp_path / "net.pth")
    target = tmp_path / "net.caffemodel"
    result = run(tmp_path / "net.pth", target, "--net", text, "--by", by)
    assert result.exit_code == 0, result.stderr
    assert f"{len(state)} tensors taken" in result.stdout
    found = blobs(target)
    for name, parameters in whole.params.items():
        for blob, other in zip(parameters, found[name], strict=True):
            np.testing.assert_array_equal(other, blob.data)


def test_tensors_of_a_module_need_a_net(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(1)}, tmp_path / "net.pth")
    result = run(tmp_path / "net.pth", tmp_path / "net.caffemodel")
    assert result.exit_code == 1
    assert "--net PROTOTXT --by name" in result.stderr.replace("\n", " ")
    assert run(tmp_path / "net.pth", tmp_path / "a.caffemodel", "--by", "name").exit_code == 2
