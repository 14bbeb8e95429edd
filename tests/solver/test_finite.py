"""A loss, or parameters, that are no numbers any more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.solver import get_solver
from tests.helpers.tiny_training import lay_training


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_training(tmp_path, monkeypatch)


def test_a_loss_that_is_none_stops_before_the_next_snapshot(file: Path) -> None:
    solver = get_solver(file)

    def spoil() -> None:
        if solver.iter == 3:
            solver.net.params["y"][0].data[0, 0] = np.nan

    solver.add_callback(spoil, lambda: None)
    with pytest.raises(caffe.TrainingError, match=r"iteration 3: the loss is nan.*'y'.*blob 'y'"):
        solver.solve()
    assert sorted(p.name for p in Path().glob("*.solverstate")) == ["s_iter_2.solverstate"]


def test_parameters_that_are_none_are_not_kept(file: Path) -> None:
    solver = get_solver(file)

    def spoil() -> None:
        if solver.iter == 3:
            solver.net.params["y"][1].diff[...] = np.inf

    solver.add_callback(lambda: None, spoil)
    with pytest.raises(caffe.TrainingError, match=r"iteration 4: layer 'y'.*parameter blob 1"):
        solver.solve()
    assert not Path("s_iter_4.caffemodel").exists()


def test_steps_of_a_program_go_on(file: Path) -> None:
    solver = get_solver(file)
    solver.net.params["y"][0].data[...] = np.nan
    solver.step(1)
    assert np.isnan(solver.net.blobs["loss"].data)
