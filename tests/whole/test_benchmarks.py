"""The benchmarks' own arithmetic, and the script for machines with a GPU, tried without one."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import history, scale
from benchmarks.report import STEADY, Times, in_turn, spread_text

ROOT = Path(__file__).parents[2]


def test_a_spread_says_where_the_median_of_the_turns_may_lie() -> None:
    assert math.isnan(Times([[1.0], [2.0]]).spread)
    turns = [[second] for second in (0.9, 1.0, 1.0, 1.01, 1.02, 1.02, 9.0)]
    # The second least and the second largest of seven, by the median: slow moments do not count.
    assert Times(turns).spread == pytest.approx(0.02 / 1.01)
    assert spread_text({"ours": 0.02, "theirs": math.nan}) == "2 %"
    assert spread_text({"ours": 0.02, "theirs": 0.08}) == "8 % (unsteady)"


def test_turns_go_on_until_the_medians_are_steady_or_it_is_enough() -> None:
    calls = []
    times = in_turn({"quick": lambda: calls.append(0)}, 2, 0.0)["quick"]
    # One call before all turns, and one before each that does not count.
    assert times.calls + len(times.turns) + 1 == len(calls)
    assert 2 <= len(times.turns) <= 6
    assert times.median > 0
    assert len(times.turns) == 6 or not times.spread > STEADY


def test_figures_are_appended_to_the_history_by_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = {
        "commit": "0123abc", "processor": "EPYC", "threads": 2, "gflops": 170.4, "gbytes": 28.0,
    }  # fmt: skip
    figure = {
        "net": "caffenet", "batch": 50, "precision": "float32", "limit_ms": 12.34,
        "ms": {"Recaffe": 20.0, "torch engine": 21.0, "OpenVINO": 19.0, "MNN": 18.0},
        "spread": {"Recaffe": 0.01, "MNN": math.nan},
    }  # fmt: skip
    figures, into = tmp_path / "forward.json", tmp_path / "history.md"
    figures.write_text(json.dumps({"machine": machine, "figures": [figure]}))
    monkeypatch.setattr(sys, "argv", ["history", str(figures), "--into", str(into), "--note", "ok"])
    history.main()
    history.main()
    head, *rows = into.read_text().split("|---|---|---|---|---|---|---|---|---|\n")[1].splitlines()
    assert rows == [head]
    assert head.startswith("| 0123abc | 20")
    assert head.endswith(
        "| caffenet, batch 50 | 20.0 | 21.0 | MNN 18.0 | 12.3 | 1 % | EPYC, 2 threads, 170/28; ok |"
    )


def test_the_script_for_gpus_runs_with_a_stand_in(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", "--cpu", "--quick", "--out", tmp_path],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [part["failed"] for part in found["tests"]] == [[], []]
    assert all(part["tests"] for part in found["tests"])
    assert all("apart" in figure["ms"] for figure in found["kernels"])
    # What needs no card is compared, and computes the same.
    assert found["kernels"][-1]["error"] < 1e-6
    assert "one" in found["kernels"][-1]["ms"]
    (forward,) = found["forward"]
    assert forward["refused"] == {}
    assert set(forward["ms"]) == {"Recaffe", "Recaffe, sent", "torch eager", "ONNX Runtime"}
    assert max(forward["errors"].values()) < 1e-3
    losses = found["training"][0]["losses"].values()
    assert max(losses) - min(losses) < 1e-3 * max(losses)
    assert "mobilenet, batch 1" in (tmp_path / "gpu.txt").read_text()


@pytest.mark.parametrize("lost", [0.0, 50.0])
def test_a_simulated_run_does_each_shard_once_whoever_dies(lost: float) -> None:
    options = argparse.Namespace(
        pictures=10_001, shard=100, workers=7, rate=10.0, listing=0.06, lost=lost
    )
    done = scale._simulated(options)
    assert done.parts == 101
    assert bool(done.lost) == bool(lost)
    least = 10_001 / 10 / 7 * 0.8
    assert done.seconds > least
    # Nobody works while there is nothing that is listed.
    options.listing = 60.0
    assert scale._simulated(options).seconds >= 10_001 / 1000 * 60
