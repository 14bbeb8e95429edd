"""Trainings that are watched: only what was named, as it grows."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from caffe.web.refusals import Refusal
from caffe.web.runs import MOST_POINTS, Runs, thinned

TABLE = "iteration,loss,lr,test accuracy\n0,2.5,0.1,0.1\n10,1.5,0.1,\n"


def test_a_file_is_followed_as_it_grows(tmp_path: Path) -> None:
    table = tmp_path / "run.csv"
    table.write_text(TABLE)
    runs = Runs([table])
    (run,) = runs.list()
    first = runs.curves("run.csv")
    assert first["curves"]["loss"] == [[0, 2.5], [10, 1.5]]
    assert first["iteration"] == 10
    with table.open("a") as file:
        file.write("20,nan,0.01,0.9\n")
    (later,) = runs.list()
    assert later.version != run.version
    second = runs.curves("run.csv")
    assert second["curves"]["loss"][-1] == [20, None]
    assert second["curves"]["test accuracy"] == [[0, 0.1], [20, 0.9]]


def test_a_folder_shows_its_logs_and_tables_and_nothing_that_they_link_to(tmp_path: Path) -> None:
    folder, outside = tmp_path / "runs", tmp_path / "outside.csv"
    folder.mkdir()
    outside.write_text(TABLE)
    (folder / "a.csv").write_text(TABLE)
    (folder / "b.log").write_text("nothing of a training yet")
    (folder / "weights.caffemodel").write_text(TABLE)
    (folder / "link.csv").symlink_to(outside)
    (folder / "deeper.csv").mkdir()
    os.mkfifo(folder / "pipe.log")
    runs = Runs([folder])
    assert {run.name for run in runs.list()} == {"a.csv", "b.log"}
    for name, code in (
        ("b.log", "no_curves"),
        ("link.csv", "no_run"),
        ("../outside.csv", "no_run"),
        ("weights.caffemodel", "no_run"),
    ):
        with pytest.raises(Refusal) as refused:
            runs.curves(name)
        assert refused.value.code == code
        assert str(tmp_path) not in str(refused.value)


def test_files_of_one_name_are_told_apart_and_one_that_goes_is_gone(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
        (place / "run.csv").write_text(TABLE)
    runs = Runs(places)
    assert {run.name for run in runs.list()} == {"run.csv", "two: run.csv"}
    (places[0] / "run.csv").unlink()
    assert [run.name for run in runs.list()] == ["run.csv"]


def test_a_long_curve_keeps_its_peaks_and_its_end() -> None:
    curve = [(i, math.sin(i)) for i in range(20_000)]
    curve[12_345] = (12_345, 99.0)
    curve[777] = (777, math.inf)
    found = thinned(curve)
    assert len(found) <= MOST_POINTS + 2
    assert [12_345, 99.0] in found
    assert found[-1][0] == 19_999
    assert found == sorted(found)
