"""A training's figures as a table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import caffe
from caffe.solver import get_solver
from caffe.solver.table import Table
from tests.helpers.tiny_training import lay_training


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_training(tmp_path, monkeypatch)


def train(file: Path, state: str | None = None) -> list[dict[str, str]]:
    solver = get_solver(file)
    if state:
        solver.restore(state)
    table = Table("t.csv", solver)
    solver.watchers.append(table)
    solver.solve()
    table.close()
    with open("t.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_steps_that_are_shown_and_tests_are_rows(file: Path) -> None:
    rows = train(file)
    assert list(rows[0]) == ["iteration", "seconds", "lr", "loss", "train loss", "test loss"]
    assert [row["iteration"] for row in rows] == ["0", "0", "2", "2", "4"]
    assert [bool(row["test loss"]) for row in rows] == [True, False, True, False, True]
    assert rows[1]["lr"] == "0.05"
    assert float(rows[0]["test loss"]) == pytest.approx(float(rows[1]["train loss"]))


def test_a_training_that_goes_on_goes_on_with_its_table(file: Path) -> None:
    whole = train(file)
    again = train(file, "s_iter_2.solverstate")
    for row in (*whole, *again):
        del row["seconds"]
    assert again == whole


def test_the_table_of_another_training_is_left_alone(file: Path) -> None:
    train(file)
    Path("t.csv").write_text("name,age\nme,7\n")
    with pytest.raises(caffe.CaffeError, match="no table of this training"):
        train(file, "s_iter_2.solverstate")
    assert Path("t.csv").read_text() == "name,age\nme,7\n"
