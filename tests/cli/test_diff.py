"""`caffe diff`: nets and weight files that are equal, differ, or cannot be compared."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from tests.helpers.command import caffe_command

NET = """
name: "Tiny"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { std: 0.01 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 5 } }
"""
V1 = """
name: "Tiny" input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
         convolution_param { num_output: 4 kernel_size: 3 weight_filler { std: 0.01 } } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "ip" type: INNER_PRODUCT bottom: "conv" top: "ip"
         inner_product_param { num_output: 5 } }
"""
V0 = """
name: "Tiny" input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3
                 weight_filler { std: 0.01 } } bottom: "data" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 } bottom: "conv" top: "ip" }
"""


run = partial(caffe_command, "diff")


@pytest.fixture
def files(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.prototxt"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("old", [NET, V1, V0], ids=["V2", "V1", "V0"])
def test_a_net_equals_its_older_forms(files: Any, old: str) -> None:
    result = run(files(NET), files(old))
    assert result.exit_code == 0, result.stdout
    assert result.stdout == "The nets are equal.\n"
    assert json.loads(run(files(NET), files(old), "--json").stdout)["equal"] is True


def test_changed_fields_are_told_by_name_with_the_shapes_that_follow(files: Any) -> None:
    other = NET.replace("num_output: 4", "num_output: 6").replace("std: 0.01", "std: 0.02")
    result = run(files(NET), files(other.replace('"Tiny"', '"Small"')))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert '    name: "Tiny" -> "Small"' in lines
    start = lines.index("conv (Convolution)")
    assert lines[start + 1 : start + 6] == [
        "    convolution_param.num_output: 4 -> 6",
        "    convolution_param.weight_filler.std: 0.01 -> 0.02",
        "    top conv: 2 x 4 x 6 x 6 -> 2 x 6 x 6 x 6",
        "    parameter 0: 4 x 3 x 3 x 3 -> 6 x 3 x 3 x 3",
        "    parameter 1: 4 -> 6",
    ]
    assert "    parameter 0: 5 x 144 -> 5 x 216" in lines
    assert "relu (ReLU)" in lines
    assert lines[-1] == "0 only in A, 0 only in B, 3 not alike"


def test_fields_that_only_one_gives_and_layers_that_only_one_has(files: Any) -> None:
    other = NET.replace('layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }', "")
    other = other.replace("num_output: 5", "num_output: 5 bias_term: false")
    other += 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'
    result = run(files(NET), files(other))
    assert result.exit_code == 1
    assert "only in A: relu (ReLU)" in result.stdout
    assert "only in B: prob (Softmax)" in result.stdout
    assert "inner_product_param.bias_term: (not given) -> false" in result.stdout
    content = json.loads(run(files(NET), files(other), "--json").stdout)
    assert content["only_first"] == [["relu", "ReLU"]]
    assert content["layers"][0]["fields"] == {"inner_product_param.bias_term": [None, False]}


def test_another_batch_is_told_once(files: Any) -> None:
    result = run(files(NET), files(NET.replace("dim: 2", "dim: 50")))
    assert result.exit_code == 1
    assert "input_param.shape[0].dim: 2, 3, 8, 8 -> 50, 3, 8, 8" in result.stdout
    assert result.stdout.splitlines()[-1] == "0 only in A, 0 only in B, 1 not alike"


def test_another_order_is_told(files: Any) -> None:
    tail = [f'layer {{ name: "{n}" type: "TanH" bottom: "ip" top: "{n}" }}\n' for n in ("a", "b")]
    result = run(files(NET + "".join(tail)), files(NET + "".join(reversed(tail))))
    assert result.exit_code == 1
    assert "stand in another order" in result.stdout


def test_layers_of_one_name_are_matched_by_their_phase(files: Any) -> None:
    data = """layer {{ name: "data" type: "DummyData" top: "data" include {{ phase: {phase} }}
              dummy_data_param {{ shape {{ dim: {n} dim: 3 }} }} }}\n"""
    train, test = data.format(phase="TRAIN", n=64), data.format(phase="TEST", n=10)
    assert run(files(train + test), files(train + test)).exit_code == 0
    changed = data.format(phase="TEST", n=20)
    result = run(files(train + test), files(train + changed))
    assert result.stdout.count("data (DummyData)") == 1
    assert "top data: 10 x 3 -> 20 x 3" in result.stdout


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, Path]:
    """A net's weights, and those of a copy in which a number differs."""
    caffe.set_random_seed(0)
    net = caffe.Net(NET, caffe.TEST)
    net.params["conv"][0].data[...] = np.linspace(-1, 1, 108).reshape(4, 3, 3, 3)
    first, second = tmp_path / "a.caffemodel", tmp_path / "b.caffemodel"
    net.save(first)
    net.params["conv"][0].data[1, 1, 1, 1] += 0.25
    net.save(second)
    return first, second


def test_weights_are_compared_number_by_number(weights: tuple[Path, Path]) -> None:
    result = run(*weights)
    assert result.exit_code == 1
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("conv 0"))
    assert line.split() == ["conv", "0", "4", "x", "3", "x", "3", "x", "3", "0.25", "25.00%"]
    assert result.stdout.splitlines()[-1] == "1 blobs differ, 3 are equal"
    assert run(*weights, "--tolerance", 0.3).exit_code == 0
    assert run(*weights, "--tolerance", 0.2).exit_code == 1
    assert run(weights[0], weights[0]).stdout == "The weights are equal.\n"


def test_the_form_of_weights_does_not_matter(weights: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    net = caffe.Net(NET, str(weights[0]), caffe.TEST)
    net.save_hdf5(tmp_path / "a.h5")
    assert run(weights[0], tmp_path / "a.h5").exit_code == 0


def test_shapes_missing_layers_and_numbers_that_are_none(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    other = NET.replace('name: "ip"', 'name: "fc"').replace("num_output: 4", "num_output: 2")
    net = caffe.Net(other, caffe.TEST)
    net.save(tmp_path / "c.caffemodel")
    result = run(weights[0], tmp_path / "c.caffemodel")
    assert result.exit_code == 1
    assert "only in A: ip" in result.stdout
    assert "only in B: fc" in result.stdout
    assert "4 x 3 x 3 x 3 -> 2 x 3 x 3 x 3" in result.stdout
    net.params["fc"][1].data[0] = np.nan
    net.save(tmp_path / "d.caffemodel")
    content = json.loads(run(tmp_path / "c.caffemodel", tmp_path / "d.caffemodel", "--json").stdout)
    assert (content["equal"], content["equal_blobs"]) == (False, 3)
    (blob,) = content["blobs"]
    assert (blob["layer"], blob["blob"], blob["largest"]) == ("fc", 1, None)
    # Not a number at the same place in both is no difference.
    assert run(tmp_path / "d.caffemodel", tmp_path / "d.caffemodel").exit_code == 0


def test_trouble_has_a_status_of_its_own(
    files: Any, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    result = run(files(NET), weights[0])
    assert result.exit_code == 2
    assert "two nets, or two weight files" in result.stderr
    assert run(files(NET), tmp_path / "gone.prototxt").exit_code == 2
    assert run(files(NET), files("layer {")).exit_code == 2
    (tmp_path / "broken.caffemodel").write_bytes(b"\x0a\x00\xff\xff\xff")
    assert run(weights[0], tmp_path / "broken.caffemodel").exit_code == 2


def test_published_nets_equal_the_zoos(shared: Path) -> None:
    models = shared / "models"
    for folder in ("bvlc_caffe", "bvlc_v1_2015"):
        path = models / folder / "models" / "bvlc_reference_caffenet" / "deploy.prototxt"
        assert run(path, "bvlc_reference_caffenet").exit_code == 0


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """Two ONNX models alike but for a number, and a third whose kernel is larger."""
    onnx = pytest.importorskip("onnx")

    from tests.helpers.onnx_models import numbers, one

    kernels = [numbers(2, 3, 1, 1), numbers(2, 3, 1, 1), numbers(2, 3, 3, 3)]
    kernels[1][1, 2] += 0.5
    paths = [tmp_path / f"{name}.onnx" for name in "abc"]
    for path, kernel in zip(paths, kernels, strict=True):
        onnx.save(one("Conv", (1, 3, 4, 4), arrays=[kernel]), path)
    return paths


def test_onnx_models_are_compared_as_what_they_become(models: list[Path], tmp_path: Path) -> None:
    text, weights = tmp_path / "a.prototxt", tmp_path / "a.caffemodel"
    result = caffe_command("import", models[0], "-o", text, weights)
    assert result.exit_code == 0, result.stderr
    for others in ([text], [weights], [text, weights], [models[0]]):
        assert run(models[0], *others).exit_code == 0, others
    assert run(models[0], text, weights).stdout == "The nets are equal.\nThe weights are equal.\n"
    result = run(models[0], models[2])
    assert result.exit_code == 1
    assert "kernel_size: 1 -> 3" in result.stdout
    assert "2 x 3 x 1 x 1 -> 2 x 3 x 3 x 3" in result.stdout


def test_the_numbers_of_onnx_models_are_compared(models: list[Path], tmp_path: Path) -> None:
    text, weights = tmp_path / "a.prototxt", tmp_path / "a.caffemodel"
    caffe_command("import", models[0], "-o", text, weights)
    for others in ([models[0]], [weights], [text, weights]):
        result = run(models[1], *others)
        assert result.exit_code == 1, others
        (line,) = (line for line in result.stdout.splitlines() if " 0  " in line)
        assert line.split()[-2] == "0.5"
        assert run(models[1], *others, "--tolerance", 0.6).exit_code == 0, others
    content = json.loads(run(models[1], models[0], "--json").stdout)
    assert (content["equal"], content["net"]["layers"]) == (False, [])
    assert content["weights"]["blobs"][0]["largest"] == pytest.approx(0.5)
    result = run(text, models[0], weights)
    assert result.exit_code == 2
    assert "in this order" in result.stderr
