"""`parse_log`: a training's log as tables."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from caffe.tools.parse_log import parse_log
from tests.helpers.command import tool

LOG = """\
I1231 23:59:58.000000 22581 solver.cpp:279] Solving quick
I1231 23:59:58.500000 22581 solver.cpp:347] Iteration 0, Testing net (#0)
I1231 23:59:59.000000 22581 solver.cpp:414]     Test net output #0: accuracy = 0.1
I1231 23:59:59.000000 22581 solver.cpp:414]     Test net output #1: loss = 2.3 (* 1 = 2.3 loss)
I1231 23:59:59.500000 22581 solver.cpp:239] Iteration 0 (0 iter/s, 0s/10 iters), loss = 2.4
I1231 23:59:59.500000 22581 solver.cpp:258]     Train net output #0: loss = 2.4 (* 1 = 2.4 loss)
I1231 23:59:59.600000 22581 sgd_solver.cpp:112] Iteration 0, lr = 0.01
I0101 00:00:03.000000 22581 solver.cpp:239] Iteration 10 (1 iter/s, 1s/10 iters), loss = nan
I0101 00:00:03.000000 22581 solver.cpp:258]     Train net output #0: loss = nan (* 1 = nan loss)
I0101 00:00:03.100000 22581 sgd_solver.cpp:112] Iteration 10, lr = 1e-05
"""


def tables(log: Path, target: Path, *options: str) -> dict[str, list[dict[str, float]]]:
    result = tool(parse_log, log, target, *options)
    assert result.exit_code == 0, result.stderr
    found = {}
    for kind in ("train", "test"):
        with open(target / f"{log.name}.{kind}", newline="") as file:
            rows = csv.DictReader(file, delimiter=";" if options else ",")
            found[kind] = [{k: float(v) for k, v in row.items()} for row in rows]
    return found


def test_both_tables_have_their_columns(tmp_path: Path) -> None:
    log = tmp_path / "caffe.log"
    log.write_text(LOG)
    found = tables(log, tmp_path, "--delimiter=;")
    assert list(found["test"][0]) == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]
    assert found["test"][0]["accuracy"] == 0.1
    assert [row["NumIters"] for row in found["train"]] == [0, 10]
    # A year ends meanwhile.
    assert [row["Seconds"] for row in found["train"]] == [1.5, 5]
    assert found["train"][0]["loss"] == 2.4
    assert math.isnan(found["train"][1]["loss"])
    # The first rate is told after the first outputs.
    assert [row["LearningRate"] for row in found["train"]] == [0.01, 0.01]


def test_the_original_s_own_log(shared: Path, tmp_path: Path) -> None:
    with np.load(shared / "goldens/training/train_lenet_sgd.npz") as stored:
        golden = dict(stored)
    log = tmp_path / "lenet.log"
    log.write_text(str(golden["log"]))
    found = tables(log, tmp_path)
    assert [row["NumIters"] for row in found["train"]] == list(range(0, 120, 10))
    assert [row["NumIters"] for row in found["test"]] == list(range(0, 121, 20))
    assert found["test"][-1]["accuracy"] == pytest.approx(0.905)
    losses = [row["loss"] for row in found["train"]]
    assert losses == pytest.approx([float(golden["loss"][i]) for i in range(0, 120, 10)], rel=1e-4)


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("nothing\n")
    for arguments in ((tmp_path / "log", tmp_path), (tmp_path / "none", tmp_path)):
        result = tool(parse_log, *arguments)
        assert result.exit_code == 1
        assert str(arguments[0]) in result.stderr
    assert tool(parse_log, tmp_path / "log", tmp_path, "--delimiter=ab").exit_code == 2
