"""A training's figures as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe.solver import get_solver
from caffe.solver.tensorboard import TensorBoard
from tests.helpers.tiny_training import lay_training


def test_losses_rates_and_scores_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboardX")
    solver = get_solver(lay_training(tmp_path, monkeypatch))
    board = TensorBoard("events", solver)
    solver.watchers.append(board)
    solver.solve()
    board.close()
    (file,) = Path("events").iterdir()
    content = file.read_bytes()
    assert [content.count(tag) for tag in (b"train/loss", b"train/lr", b"test/loss")] == [2, 2, 3]
