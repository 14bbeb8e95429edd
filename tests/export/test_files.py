"""Nets written in the form that a file's name says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe.io.recipe import PictureRecipe
from tests.helpers.exported import Run, run_onnx, run_torch
from tests.helpers.nets import NET

pytest.importorskip("onnxruntime")
pytest.importorskip("safetensors")


def test_onnx(tmp_path: Path) -> None:
    run = Run(NET, 0)
    caffe.export.save(run.net, tmp_path / "net.onnx")
    assert not run.differences(run_onnx(str(tmp_path / "net.onnx"), run.given))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_onnx_with_its_numbers_beside_it(tmp_path: Path) -> None:
    run = Run(NET.replace("num_output: 7", "num_output: 70"), 0)
    told: list[tuple[int, int]] = []
    caffe.export.save(
        run.net, tmp_path / "net.onnx", external_data=True, progress=lambda *n: told.append(n)
    )
    assert (
        (tmp_path / "net.onnx").stat().st_size < 9000 < (tmp_path / "net.onnx.data").stat().st_size
    )
    assert not run.differences(run_onnx(str(tmp_path / "net.onnx"), run.given))
    assert told
    assert told[-1][0] == told[-1][1]


def test_a_model_that_is_too_large_for_one_file_has_its_numbers_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caffe.export.onnx_file, "MOST_IN_ONE", 1000)
    run = Run(NET, 0)
    caffe.export.save(run.net, tmp_path / "net.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert not run.differences(run_onnx(str(tmp_path / "net.onnx"), run.given))
    with pytest.raises(caffe.CaffeError, match="too many for one message"):
        caffe.export.to_onnx(run.net)


def test_a_program_of_pytorch(tmp_path: Path) -> None:
    run = Run(NET, 0)
    caffe.export.save(run.net, tmp_path / "net.pt2")
    module = torch.export.load(tmp_path / "net.pt2").module()
    assert not run.differences(run_torch(module, [run.given["data"]]))


def test_source_needs_pytorch_alone(tmp_path: Path) -> None:
    run = Run(NET, 0)
    caffe.export.save(run.net, tmp_path / "small.py")
    text = (tmp_path / "small.py").read_text()
    assert "# conv (Convolution)" in text
    assert 'F.conv2d(data, self["conv"][0], self["conv"][1], [2, 2], [1, 1])' in text
    np.save(tmp_path / "data.npy", run.given["data"])
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['caffe'] = None\n"
            "import numpy, torch, small\n"
            "net = small.load('small.safetensors')\n"
            "y = net(torch.from_numpy(numpy.load('data.npy')))\n"
            "y.sum().backward()\n"
            "numpy.save('y.npy', y.detach().numpy())",
        ],
        cwd=tmp_path,
        check=True,
    )
    assert not run.differences([np.load(tmp_path / "y.npy")])


def test_numbers_are_float32_whatever_pytorch_makes(tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        run = Run(NET, 0)
        for name in ("net.onnx", "net.pt2"):
            caffe.export.save(run.net, tmp_path / name)
    finally:
        torch.set_default_dtype(torch.float32)
    assert not run.differences(run_onnx(str(tmp_path / "net.onnx"), run.given))
    program = torch.export.load(tmp_path / "net.pt2").module()
    assert not run.differences(run_torch(program, [run.given["data"]]))


def test_weights_alone(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    net = caffe.Net(NET, caffe.TEST)
    caffe.export.save(net, tmp_path / "net.safetensors")
    found = load_file(tmp_path / "net.safetensors")
    assert found.keys() == caffe.export.module(net).state_dict().keys()
    np.testing.assert_array_equal(found["conv.0"].numpy(), net.params["conv"][0].data)


@pytest.mark.parametrize("ending", [".onnx", ".pt2", ".py", ".safetensors"])
def test_folded(ending: str, tmp_path: Path) -> None:
    run = Run(NET, 0)
    caffe.export.save(run.net, tmp_path / f"net{ending}", fold=True)
    if ending == ".onnx":
        assert not run.differences(run_onnx(str(tmp_path / "net.onnx"), run.given))
    assert (tmp_path / f"net{ending}").stat().st_size


def test_an_onnx_model_that_prepares_pictures(tmp_path: Path) -> None:
    run = Run(NET, 0)
    recipe = PictureRecipe(mean=(104, 117, 123), input_scale=0.5, image_dims=(9, 9), crop=(9, 9))
    picture = np.random.default_rng(0).uniform(0, 1, (9, 9, 3)).astype(np.float32)
    with_recipe = recipe.apply(picture)
    wanted = run.net.forward(data=with_recipe)["sum"].copy()
    caffe.export.save(run.net, tmp_path / "net.onnx", recipe=recipe)
    given = {"picture": picture.transpose(2, 0, 1)[np.newaxis] * 255}
    (found,) = run_onnx(str(tmp_path / "net.onnx"), given)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_pictures_of_other_channels_than_three(tmp_path: Path) -> None:
    recipe = PictureRecipe(mean=None, raw_scale=1.0, image_dims=None, crop=None)
    run = Run(NET.replace("dim: 3 dim: 9", "dim: 1 dim: 9", 1), 0)
    caffe.export.save(run.net, tmp_path / "net.onnx", recipe=recipe)
    given = {"picture": run.given["data"] * 255}
    assert not run.differences(run_onnx(str(tmp_path / "net.onnx"), given))
    four = caffe.Net(NET.replace("dim: 3 dim: 9", "dim: 4 dim: 9", 1), caffe.TEST)
    with pytest.raises(caffe.ArgumentError, match="2, 1, 0 is no order of the 4 channels"):
        caffe.export.save(four, tmp_path / "four.onnx", recipe=recipe)


def test_source_and_weights_go_together(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(caffe.CaffeError, match="cannot be written"):
        caffe.export.save(caffe.Net(NET, caffe.TEST), tmp_path / "net.py")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("name", ["Layer", "f", "tensor"])
def test_source_of_a_net_that_is_called_as_what_it_needs(name: str, tmp_path: Path) -> None:
    run = Run(NET.replace("small <net>", name), 0)
    caffe.export.save(run.net, tmp_path / "net.py")
    found: dict[str, Any] = {}
    exec((tmp_path / "net.py").read_text(), found)
    module = found["load"](str(tmp_path / "net.safetensors"))
    assert not run.differences(run_torch(module, [run.given["data"]]))


def test_a_name_that_says_no_form_and_settings_of_another(tmp_path: Path) -> None:
    net = caffe.Net(NET, caffe.TEST)
    with pytest.raises(caffe.ArgumentError, match=r"net\.xyz: the name must end in \.onnx"):
        caffe.export.save(net, tmp_path / "net.xyz")
    with pytest.raises(caffe.ArgumentError, match=r"are for \.onnx, not for \.pt2"):
        caffe.export.save(net, tmp_path / "net.pt2", opset=17)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_where_a_layer_cannot_be_written(tmp_path: Path) -> None:
    net = caffe.Net(NET + "layer { name: 'l' type: 'EuclideanLoss' bottom: 'sum' bottom: 'sum' "
                    "top: 'l' }", caffe.TEST)  # fmt: skip
    with pytest.raises(caffe.NetError, match="EuclideanLoss"):
        caffe.export.save(net, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
