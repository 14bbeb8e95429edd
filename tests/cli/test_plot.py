"""`caffe plot`: curves from logs and tables."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

import caffe
from caffe.io.curves import read_curves
from tests.helpers.command import caffe_command
from tests.helpers.tiny_training import lay_training

run = partial(caffe_command, "plot")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    result = caffe_command("train", "-solver", lay_training(tmp_path, monkeypatch), "-csv", "t.csv")
    path = Path("run.log")
    path.write_text(result.stderr)
    return path


def test_log_and_table_tell_the_same(log: Path) -> None:
    curves, table = read_curves(log), read_curves("t.csv")
    assert curves["lr"] == [(0, 0.05), (2, 0.05)]
    assert [iteration for iteration, _ in curves["test loss"]] == [0, 2, 4]
    for name in ("lr", "test loss"):
        assert [i for i, _ in table[name]] == [i for i, _ in curves[name]]
        values = [value for _, value in curves[name]]
        assert [value for _, value in table[name]] == pytest.approx(values, rel=1e-4)
    # The log tells of the loss behind the last step, too.
    assert [i for i, _ in curves["loss"]] == [*(i for i, _ in table["loss"]), 4]


def test_curves_are_drawn(log: Path) -> None:
    pytest.importorskip("matplotlib")
    result = run(log, "t.csv", "-o", "curve.png")
    assert result.exit_code == 0, result.stderr
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")
    assert run(log, "-o", "curve.svg").exit_code == 0
    assert "<svg" in Path("curve.svg").read_text()


def test_what_is_no_log_is_told(log: Path) -> None:
    result = run("solver.prototxt", "-o", "curve.png")
    assert result.exit_code == 1
    assert "solver.prototxt: this tells of no iteration" in result.stderr
    with pytest.raises(caffe.CaffeError, match=r"none\.log"):
        read_curves("none.log")
    assert not Path("curve.png").exists()
    assert run(log, "-o", "curve.xyz").exit_code == 2
