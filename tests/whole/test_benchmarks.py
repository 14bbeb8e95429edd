"""The benchmarks' own arithmetic, and the script for machines with a GPU, tried without one."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import history, scale
from benchmarks.own_process import Child
from benchmarks.report import STEADY, Times, in_turn, spread_text, take_turns

ROOT = Path(__file__).parents[2]
ENGINES = """
import os, signal, time

def sound():
    return (lambda seconds: [seconds]), os.getpid()

def refusing():
    raise ValueError("no such layer")

def dying():
    return (lambda seconds: os.kill(os.getpid(), signal.SIGKILL)), os.getpid()

def working():
    print("at work", flush=True)
    time.sleep(100)
"""


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


def test_engines_in_processes_of_their_own_take_turns_without_those_that_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "made_up_engines.py").write_text(ENGINES)
    monkeypatch.syspath_prepend(tmp_path)
    engines = importlib.import_module("made_up_engines")
    with ExitStack() as ends:
        children = {name: Child(name, getattr(engines, name)) for name in ("sound", "dying")}
        children["refusing"] = Child("refusing", engines.refusing)
        for child in children.values():
            ends.callback(child.end)
        answers = {name: child.answer() for name, child in children.items()}
        assert answers.pop("refusing") is None
        assert len({os.getpid(), *answers.values()}) == 3
        times = take_turns({name: children[name].turn for name in answers}, 2, 0.25)
    assert {name: taken.turns for name, taken in times.items()} == {"sound": [[0.25], [0.25]]}
    assert capsys.readouterr().out.splitlines() == [
        "  refusing cannot run it: no such layer",
        "  dying cannot run it: its process ended by SIGKILL",
    ]
    with pytest.raises(ProcessLookupError):
        os.kill(answers["sound"], 0)


def test_an_engine_ends_with_whoever_started_it_even_in_the_midst_of_work(tmp_path: Path) -> None:
    (tmp_path / "made_up_engines.py").write_text(ENGINES)
    code = "import made_up_engines as m; from benchmarks.own_process import Child as C; "
    process = subprocess.Popen(
        [sys.executable, "-c", code + "C('', m.working).answer()"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT)))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    process.kill()
    # The engine's process has the same output, which is at its end when both are.
    assert process.communicate(timeout=20) == ("", None)


def test_figures_are_appended_to_the_history_by_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = {
        "commit": "0123abc", "processor": "EPYC", "threads": 2, "gflops": 170.4, "gbytes": 28.0,
    }  # fmt: skip
    figure = {
        "net": "caffenet", "batch": 50, "precision": "float32", "limit_ms": 12.34,
        "ms": {"Recaffe": 20.0, "default installation": 21.0, "OpenVINO": 19.0, "MNN": 18.0},
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
