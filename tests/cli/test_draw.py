"""`caffe draw`: phases, nets without their data, and what is missing."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from tests.helpers.command import caffe_command
from tests.helpers.nets import NET

pytest.importorskip("pydot")


run = partial(caffe_command, "draw")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "small.prototxt"
    path.write_text(NET)
    return path


def test_the_command_draws_a_phase(net: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.svg"
    assert run(net, out).exit_code == 0
    assert "Dropout" not in out.read_text()
    result = run(net, out, "--phase", "TRAIN", "--direction", "LR")
    assert result.exit_code == 0
    assert "out.svg drawn." in result.stdout.replace("\n", "")
    assert "Dropout" in out.read_text()


def test_the_command_draws_nets_whose_data_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "data" type: "Data" top: "data" '
        'data_param { source: "gone" batch_size: 1 } }\n'
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
        "convolution_param { num_output: 5 kernel_size: 3 } }\n"
        'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" '
        "inner_product_param { num_output: 9 } }"
    )
    result = run(path, tmp_path / "out.svg")
    assert result.exit_code == 0, result.stderr
    assert "gone" in result.stderr
    assert "5 outputs" in (tmp_path / "out.svg").read_text()
    assert "9 outputs" in (tmp_path / "out.svg").read_text()
    assert run(path, tmp_path / "out.svg", "--shape", "data=1,3,8,8").stderr == ""
    assert "5 x 6 x 6" in (tmp_path / "out.svg").read_text()


def test_without_graphviz_the_command_says_what_to_install(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setenv("PATH", "")
    out = tmp_path / "out.svg"
    out.write_text("before")
    result = run(net, out)
    assert result.exit_code == 1
    assert "[draw]'" in result.stderr
    assert out.read_text() == "before"


def test_errors_name_file_and_line(net: Path, tmp_path: Path) -> None:
    net.write_text(NET.replace('bottom: "left"', 'bottom: "loft"'))
    result = run(net, tmp_path / "out.svg")
    assert result.exit_code == 1
    assert "small.prototxt:15: layer 'sum' (Eltwise): bottom 0, 'loft'" in result.stderr
