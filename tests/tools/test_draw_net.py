"""`draw_net`: pycaffe's drawing, by the script's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from caffe.tools.draw_net import draw_net
from tests.helpers.command import tool
from tests.helpers.nets import TINY


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_a_net_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("pydot")
    (tmp_path / "net.prototxt").write_text(TINY)
    target = tmp_path / "net.svg"
    result = tool(draw_net, tmp_path / "net.prototxt", target, "--rankdir=TB", "-phase", "TEST")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"Drawing net to {target}\n"
    assert b"conv" in target.read_bytes()


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    result = tool(draw_net, tmp_path / "none.prototxt", tmp_path / "net.svg")
    assert result.exit_code == 1
    assert "none.prototxt" in result.stderr
    assert tool(draw_net, "a", "b", "--rankdir=UP").exit_code == 2
