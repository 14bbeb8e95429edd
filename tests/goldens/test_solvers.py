"""Steps, snapshots and trainings against the original's figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffe.solver import Solver, get_solver
from caffe.weights.files import read_weights
from caffe.weights.solver_state import read_state
from tests.helpers.digits import lay_digits
from tests.helpers.golden import assert_golden
from tests.helpers.places import GOLDENS

Golden = dict[str, np.ndarray]

BEGIN = 'net: "net.prototxt" solver_mode: CPU max_iter: 100 snapshot_prefix: "s" '


def read(path: Path) -> Golden:
    with np.load(path) as stored:
        return dict(stored)


def begin(golden: Golden, beginning: str = BEGIN) -> Solver:
    """Return a solver that stands where the original's stood, in the current folder."""
    Path("net.prototxt").write_text(str(golden["net"]))
    Path("solver.prototxt").write_text(beginning + str(golden["solver"]))
    solver = get_solver("solver.prototxt")
    for key, values in golden.items():
        kind, _, name = key.partition("/")
        if kind == "in":
            solver.net.blobs[name].data[...] = values
        elif kind == "param":
            layer, _, index = name.rpartition("/")
            solver.net.params[layer][int(index)].data[...] = values
    return solver


def check_step(solver: Solver, golden: Golden, step: int) -> None:
    for key, values in golden.items():
        kind, _, name = key.partition("/")
        if kind == f"step{step}":
            layer, _, index = name.rpartition("/")
            assert_golden(solver.net.params[layer][int(index)].data, values, key)


@pytest.mark.parametrize("path", sorted((GOLDENS / "solvers").glob("*.npz")), ids=lambda p: p.stem)
def test_steps_equal_the_originals(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    golden = read(path)
    solver = begin(golden)
    for step in range(1, 13):
        solver.step(1)
        assert_golden(solver.net.blobs["loss"].data, golden["loss"][step - 1], f"loss {step}")
        check_step(solver, golden, step)


RESUMES = sorted((GOLDENS / "resumes").glob("*.npz"))


@pytest.mark.parametrize("path", RESUMES, ids=lambda p: p.stem)
def test_the_originals_snapshots_are_gone_on_from(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    golden = read(path)
    solver = begin(golden)
    files = [key.removeprefix("file/") for key in golden if key.startswith("file/")]
    for name in files:
        Path(name).write_bytes(golden[f"file/{name}"].tobytes())
    solver.restore(next(name for name in files if "solverstate" in name))
    assert solver.iter == 6
    for step in range(7, 13):
        solver.step(1)
        check_step(solver, golden, step)


@pytest.mark.parametrize("path", RESUMES, ids=lambda p: p.stem)
def test_snapshots_hold_what_the_originals_hold(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    golden = read(path)
    solver = begin(golden)
    solver.step(6)
    solver.snapshot()
    for name in (key.removeprefix("file/") for key in golden if key.startswith("file/")):
        original = Path(f"original_{name}")
        original.write_bytes(golden[f"file/{name}"].tobytes())
        if "solverstate" in name:
            mine, theirs = read_state(name), read_state(original)
            assert (mine.iteration, mine.learned_net, mine.current_step) == (
                theirs.iteration,
                theirs.learned_net,
                theirs.current_step,
            )
            pairs = zip(mine.history, theirs.history, strict=True)
        else:
            ours, originals = read_weights(name), read_weights(original)
            assert [layer.name for layer in ours] == [layer.name for layer in originals]
            pairs = (
                (np.asarray(a.data), np.asarray(b.data))
                for one, other in zip(ours, originals, strict=True)
                for a, b in zip(one.blobs, other.blobs, strict=True)
                if a is not None and b is not None
            )
        for number, (found, expected) in enumerate(pairs):
            assert_golden(found, expected, f"{name}, blob {number}")


STEPS = 40


def train(path: Path) -> list[float]:
    """Train on digits that lie in the current folder; return the loss of each step."""
    golden = read(path)
    golden["net"] = np.array(str(golden["net"]).replace("DIR/", f"{Path.cwd()}/"))
    beginning = (
        'net: "net.prototxt" test_iter: 4 test_interval: 20 solver_mode: CPU random_seed: 1 '
        f'max_iter: {int(golden["iterations"])} snapshot_prefix: "s" '
    )
    solver = begin(golden, beginning)
    losses = []
    for _ in range(STEPS):
        solver.step(1)
        losses.append(float(solver.net.blobs[str(golden["loss_name"])].data))
    return losses


@pytest.mark.parametrize("name", ["auto_adagrad", "bn_nesterov", "quick_clip"])
def test_a_real_training_follows_the_originals(name: str, shared: Path, tmp_path: Path) -> None:
    path = shared / "goldens" / "training" / f"train_{name}.npz"
    lay_digits(shared, tmp_path)
    call = f"from tests.goldens.test_solvers import *; print(train(Path({str(path)!r})))"
    # One sum near 0 that comes out on its other side changes what follows. With sums of 8 numbers
    # at a time, of which the original's were made, none does; wider ones are as exact, but others.
    narrow = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    narrow["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=tmp_path, env=narrow, stdout=subprocess.PIPE, check=True
    )
    losses = json.loads(done.stdout.splitlines()[-1])
    expected = read(path)["loss"][:STEPS]
    error = np.abs(np.array(losses) - expected) / np.abs(expected)
    # What the original differs by from itself with another library's products of matrices.
    assert error[:20].max() < 1e-4
    assert error.max() < 5e-3
