"""The three tools that upgrade old nets and solvers, by their old names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from caffe.proto.files import read_net
from caffe.tools.upgrade_net_proto_binary import upgrade_net_proto_binary
from caffe.tools.upgrade_net_proto_text import upgrade_net_proto_text
from caffe.tools.upgrade_solver_proto_text import upgrade_solver_proto_text
from tests.helpers.command import tool

V1 = """
name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4
layers { name: "relu" type: RELU bottom: "data" top: "relu" }
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.prototxt"
    path.write_text(V1)
    return path


def test_a_net_is_upgraded_in_both_forms_whatever_the_names_are(tmp_path: Path, old: Path) -> None:
    text, binary = tmp_path / "new", tmp_path / "new.txt"
    assert tool(upgrade_net_proto_text, old, text).exit_code == 0
    assert tool(upgrade_net_proto_binary, old, binary).exit_code == 0
    assert "layer {" in text.read_text()
    for path in (text, binary):
        net = read_net(path)
        assert [layer.type for layer in net.layer] == ["Input", "ReLU"]
    assert read_net(text) == read_net(binary)
    assert not binary.read_bytes().startswith(b"name")


@pytest.mark.parametrize(
    ("upgrade", "words"),
    [
        (upgrade_net_proto_text, "Write a net of any age in today's form, as text."),
        (upgrade_net_proto_binary, "Write a net of any age in today's form, as binary."),
        (upgrade_solver_proto_text, "Write a solver of any age in today's form, as text."),
    ],
)
def test_each_tells_what_it_does(upgrade: Callable[[Path, Path], None], words: str) -> None:
    assert words in tool(upgrade, "--help").stdout


def test_a_solver_is_upgraded(tmp_path: Path) -> None:
    source, target = tmp_path / "solver.prototxt", tmp_path / "new.prototxt"
    source.write_text('net: "net.prototxt" solver_type: ADAM\n')
    assert tool(upgrade_solver_proto_text, source, target).exit_code == 0
    assert 'type: "Adam"' in target.read_text()


def test_what_is_wrong_is_told_and_nothing_is_written(tmp_path: Path, old: Path) -> None:
    target = tmp_path / "new"
    assert tool(upgrade_net_proto_text, old).exit_code == 2
    result = tool(upgrade_net_proto_text, tmp_path / "none", target)
    assert result.exit_code == 1
    assert "none" in result.stderr
    assert tool(upgrade_solver_proto_text, old, target).exit_code == 1
    assert not target.exists()
