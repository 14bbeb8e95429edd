"""`caffe show`: tables in pipes and terminals, JSON, weights, and what is missing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.helpers.command import caffe_command
from tests.helpers.nets import TINY

run = partial(caffe_command, "show")


def test_caffenet_agrees_with_its_known_totals() -> None:
    result = run("bvlc_reference_caffenet", "--batch", 10)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "CaffeNet: 24 layers, TEST, batch 10"
    assert "60,965,224 parameters" in lines
    assert "724,406,816 multiply-adds per picture" in lines
    assert any("243.9 MB" in line and "at batch 10" in line for line in lines)


def test_json_has_the_same_figures(net: Path) -> None:
    content = json.loads(run(net, "--json", "--batch", 6).stdout)
    assert (content["net"], content["phase"], content["batch"]) == ("Tiny", "TEST", 6)
    assert [layer["name"] for layer in content["layers"]] == ["data", "conv", "relu", "ip"]
    assert content["parameters"] == 4 * 27 + 4 + 5 * 144 + 5
    assert content["multiply_adds"] == 36 * 4 * 27 + 5 * 144
    assert content["layers"][1]["shapes"] == [[6, 4, 6, 6]]
    assert "weights" not in content


def test_the_phase_is_chosen_or_found(net: Path, tmp_path: Path) -> None:
    assert "EuclideanLoss" not in run(net).stdout
    assert "EuclideanLoss" in run(net, "--phase", "TRAIN").stdout
    only = tmp_path / "train.prototxt"
    only.write_text(
        'layer { name: "d" type: "DummyData" top: "x" include { phase: TRAIN } '
        "dummy_data_param { shape { dim: 1 dim: 2 } } }\n"
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    assert run(only).stdout.startswith("net: 2 layers, TRAIN")
    result = run(only, "--phase", "TEST")
    assert result.exit_code == 1
    assert "train.prototxt:2: layer 'r' (ReLU): bottom 0, 'x'" in result.stderr


def test_weights_are_matched_by_name_and_measured(net: Path, tmp_path: Path) -> None:
    full = caffe.Net(str(net), caffe.TEST)
    full.params["conv"][0].data[...] = np.linspace(-1, 3, 4 * 27).reshape(4, 3, 3, 3)
    full.params["ip"][1].data[:] = [1, 2, np.nan, np.inf, 3]
    full.save(tmp_path / "full.caffemodel")
    other = tmp_path / "other.prototxt"
    other.write_text(TINY.replace('"ip"', '"fc"').replace("num_output: 4", "num_output: 8"))
    content = json.loads(run(other, "--weights", tmp_path / "full.caffemodel", "--json").stdout)
    found = content["weights"]
    assert found["without"] == ["fc"]
    assert found["unused"] == ["ip"]
    assert [(one["layer"], one["blob"], one["fits"]) for one in found["parameters"]] == [
        ("conv", 0, False),
        ("conv", 1, False),
    ]
    first = found["parameters"][0]
    assert (first["min"], first["max"], first["shape"]) == (-1, 3, [4, 3, 3, 3])
    assert first["mean"] == pytest.approx(1)
    assert first["deviation"] == pytest.approx(np.linspace(-1, 3, 108).std(), rel=1e-5)

    text = run(net, "--weights", tmp_path / "full.caffemodel").stdout
    assert "the file has weights for every layer that has parameters" in text
    (line,) = (line for line in text.splitlines() if line.startswith("ip 1"))
    assert line.split() == ["ip", "1", "5", "1", "3", "2", "0.8165", "2", "not", "finite"]
    assert "does not fit the net" in run(other, "--weights", tmp_path / "full.caffemodel").stdout


def test_weights_of_quite_another_net_are_an_error(net: Path, tmp_path: Path) -> None:
    other = TINY.replace('"ip"', '"fc"').replace('name: "conv"', 'name: "c"')
    caffe.Net(other, caffe.TEST).save(tmp_path / "other.caffemodel")
    result = run(net, "--weights", tmp_path / "other.caffemodel")
    assert result.exit_code == 1
    assert "none of the net's layers" in result.stderr
    assert run(net, "--weights", tmp_path / "gone").exit_code == 1


def test_missing_data_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "data" type: "ImageData" top: "data" top: "label" '
        'image_data_param { source: "gone.txt" batch_size: 4 } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        "inner_product_param { num_output: 3 } }"
    )
    result = run(path)
    assert result.exit_code == 0
    assert "gone.txt" in result.stdout
    result = run(path, "--shape", "data=4,3,5,5")
    assert "228 parameters" in result.stdout
    assert "note" not in result.stdout
    assert run(path, "--shape", "data:4").exit_code == 2
    assert "'nothing'" in run(path, "--shape", "nothing=1").stderr


@pytest.mark.parametrize(
    ("model", "file"),
    [("mobilenet_ssd", "mobilenet_ssd.prototxt"), ("ssd300_voc", "ssd300_voc/deploy.prototxt")],
)
def test_a_net_that_comes_with_its_weights_is_shown_once_it_is_here(
    model: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path))
    assert f"caffe fetch {model}" in run(model).stderr
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(TINY)
    assert run(model).stdout.startswith("Tiny: 4 layers")


def test_what_is_no_net_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.prototxt").write_text("layer {")
    for argument in (tmp_path / "no.prototxt", tmp_path / "gone.prototxt", "no-such-model"):
        result = run(argument)
        assert result.exit_code == 1
        assert result.stderr.startswith("caffe: ")


def test_stages_choose_layers(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(TINY.replace("include { phase: TRAIN }", 'include { stage: "scored" }'))
    assert "loss" not in run(path).stdout
    assert "loss" in run(path, "--stage", "scored").stdout


def test_a_terminals_width_is_kept() -> None:
    columns = 50
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns)}
    program = [sys.executable, "-m", "caffe", "show", "bvlc_googlenet"]
    with subprocess.Popen(program, stdout=follower, env=environment) as process:
        os.close(follower)
        output = b""
        while True:
            try:
                read = os.read(leader, 65536)
            except OSError:
                break
            if not read:
                break
            output += read
    os.close(leader)
    assert process.returncode == 0
    lines = output.decode().split("\r\n")
    table = lines[2 : lines.index("", 3)]
    assert len(table) == 144
    assert max(map(len, table)) <= columns
    assert table[0].split() == ["LAYER", "SHAPE"]


PYTHON_NET = """layer { name: "i" type: "Input" top: "d" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "p" type: "Python" bottom: "d" top: "t"
        python_param { module: "of_a_stranger" layer: "L" } }"""
THEIRS = """
import caffe

class L(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(7)

open("code_ran", "w").close()
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stranger's net, in the current folder beside the module that it names."""
    (tmp_path / "of_a_stranger.py").write_text(THEIRS)
    (tmp_path / "net.prototxt").write_text(PYTHON_NET)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("of_a_stranger", None)


@pytest.mark.parametrize(
    "command",
    [
        ["show", "net.prototxt"],
        ["diff", "net.prototxt", "net.prototxt"],
        ["draw", "net.prototxt", "net.svg"],
    ],
    ids=["show", "diff", "draw"],
)
def test_a_look_at_a_net_runs_no_code_of_it(
    command: list[str], theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command[0] == "draw":
        pytest.importorskip("pydot")
    monkeypatch.syspath_prepend(str(theirs))
    result = caffe_command(*command)
    assert not (theirs / "code_ran").exists()
    if command[0] != "diff":
        assert "--run-python" in result.output
    caffe_command(*command, "--run-python")
    assert (theirs / "code_ran").exists()


def test_with_run_python_the_layers_shapes_are_known(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(theirs))
    layers = json.loads(run("net.prototxt", "--run-python", "--json").stdout)["layers"]
    assert layers[1]["shapes"] == [[7]]


def test_modules_of_the_current_folder_are_never_run(theirs: Path) -> None:
    arguments = [sys.executable, "-m", "caffe", "show", "net.prototxt", "--run-python"]
    source = str(Path(caffe.__file__).parents[1])
    result = subprocess.run(
        arguments, cwd=theirs, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert "there is no module 'of_a_stranger'" in result.stdout + result.stderr
    assert not (theirs / "code_ran").exists()


def test_an_onnx_model_is_shown_by_its_nodes(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import onnx

    from tests.helpers.onnx_models import numbers, one

    path = tmp_path / "net.onnx"
    onnx.save(one("Conv", (1, 3, 4, 4), arrays=[numbers(2, 3, 1, 1)]), path)
    result = caffe_command("show", path)
    assert result.exit_code == 0, result.stderr
    assert "1 x 2 x 4 x 4" in result.stdout
    content = json.loads(caffe_command("show", path, "--json").stdout)
    assert [layer["type"] for layer in content["layers"]] == ["input", "Conv"]
    assert content["multiply_adds"] == 2 * 16 * 3
    assert caffe_command("show", path, "--batch", 2).exit_code == 2
