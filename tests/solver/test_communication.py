"""Two processes that train together, on the CPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

import caffe
from caffe.errors import ArgumentError
from caffe.solver import communication
from tests.solver.test_sidecar import hdf5_layer, image_layer, lmdb_layer

NET = """
layer { name: "y" type: "InnerProduct" bottom: "data" top: "y" param { name: "w" }
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net{batch}.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01
clip_gradients: 0.5 max_iter: {steps} snapshot_prefix: "s{batch}" random_seed: 4 {more}
"""
WORKER = """
import sys
import numpy as np
import caffe
from caffe.solver import communication
assert communication.join()
solver = caffe.get_solver(sys.argv[1])
together = communication.Together(solver)
together.bcast()
solver.add_callback(together)
solver.solve(*sys.argv[3:])
params = [blob.data for blobs in solver.net.params.values() for blob in blobs]
np.savez(f"{sys.argv[2]}{caffe.solver_rank()}.npz", *params)
communication.leave()
"""


def write(layer: str, batch: int, steps: int = 6, more: str = "") -> str:
    text = layer.replace("batch_size: 3", f"batch_size: {batch}")
    Path(f"net{batch}.prototxt").write_text(text + NET)
    path = f"solver{batch}_{steps}.prototxt"
    Path(path).write_text(SOLVER.format(batch=batch, steps=steps, more=more))
    return path


def start_both(code: str, *arguments: str) -> tuple[list[int], list[str]]:
    """Run code in two processes; return how each ended, and what it said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    source = str(Path(caffe.__file__).parents[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **common, "RANK": str(rank), "PYTHONPATH": source},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    return [process.returncode for process in processes], errors


def run_both(solver: str, out: str, *more: str) -> list[list[np.ndarray]]:
    """Train in two processes; return the parameters of each."""
    states, errors = start_both(WORKER, solver, out, *more)
    assert states == [0, 0], errors
    found = []
    for rank in (0, 1):
        with np.load(f"{out}{rank}.npz") as stored:
            found.append([stored[name] for name in stored.files])
    return found


@pytest.mark.parametrize("layer", [lmdb_layer, hdf5_layer])
def test_two_processes_equal_one_with_the_whole_batch(
    layer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(layer)
    monkeypatch.chdir(tmp_path)
    plain = layer().replace("crop_size: 6 mirror: true", "").replace("shuffle: true", "")
    whole = caffe.get_solver(write(plain, 6))
    whole.solve()
    both = run_both(write(plain, 3), "both")
    expected = [blob.data for blobs in whole.net.params.values() for blob in blobs]
    for first, second, one in zip(*both, expected, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, one, rtol=1e-5, atol=1e-6)
    # The first keeps the snapshot for all, and each what is its own.
    assert {path.name for path in Path().glob("s3_*")} == {
        "s3_iter_6.caffemodel",
        "s3_iter_6.solverstate",
        "s3_iter_6.solverstate.json",
        "s3_iter_6.solverstate.rank1.json",
    }


def test_two_processes_go_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layer = image_layer()
    at_once = run_both(write(layer, 3, 6), "whole")
    run_both(write(layer, 3, 3), "half")
    both = run_both(write(layer, 3, 6), "again", "s3_iter_3.solverstate")
    for found, expected in zip(both[0], at_once[0], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_two_processes_stop_together_where_tests_get_no_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # At a rate of 0 no test is better than the first; the loss of each is its own, the rate not.
    more = (
        'test_iter: 7 test_interval: 2 monitor: "loss" early_stop: 2 snapshot_best: true '
        'lr_policy: "plateau" gamma: 0.1 plateau_winsize: 1 plateau_winsize: 2'
    )
    path = write(lmdb_layer().replace("crop_size: 6 mirror: true", ""), 1, 20, more)
    text = Path(path).read_text().replace("base_lr: 0.01", "base_lr: 0")
    Path(path).write_text(text.replace('lr_policy: "fixed"', ""))
    first, second = run_both(path, "both")
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    kinds = ["caffemodel", "solverstate", "solverstate.json", "solverstate.rank1.json"]
    assert sorted(path.name for path in Path().glob("s1_*")) == sorted(
        f"s1_{name}.{kind}" for name in ("best", "iter_4") for kind in kinds
    )


def test_nccl_takes_a_solver_and_makes_addresses() -> None:
    assert caffe.has_nccl()
    uid = caffe.NCCL.new_uid()
    assert isinstance(uid, bytes)
    assert uid.startswith(b"tcp://127.0.0.1:")
    with pytest.raises(ArgumentError, match="a solver is needed"):
        caffe.NCCL(None, uid)


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (["a", "b", "a", "c"], [[0, 2], [], [0, 2], []]),
        (["a", "b"], [[], []]),
        (["a", "a"], [[0, 1], [0, 1]]),
        (["", ""], [[], []]),
    ],
    ids=["two of four", "each its own", "both one", "nobody knows"],
)
def test_solvers_find_out_whether_another_has_their_gpu(
    gpus: list[str], expected: list[list[int]]
) -> None:
    met = dist.HashStore()
    with ThreadPoolExecutor(len(gpus)) as pool:
        tasks = [
            pool.submit(communication._with, met, rank, len(gpus), gpu)
            for rank, gpu in enumerate(gpus)
        ]
    assert [task.result() for task in tasks] == expected


ONE_ENDS = """
import os, sys
import caffe
from caffe.solver import communication
communication.join()
if caffe.solver_rank():
    os._exit(0)
solver = caffe.SGDSolver(sys.argv[1])
together = communication.Together(solver)
exchange = {"bcast": together.bcast, "gradients": together.on_gradients_ready,
            "agreed": lambda: communication.agreed(1), "mean": lambda: communication.mean_of(1.0)}
try:
    while True:
        exchange[sys.argv[2]]()
except caffe.CaffeError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("exchange", ["bcast", "gradients", "agreed", "mean"])
def test_who_is_left_alone_says_so(
    exchange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    states, (said, _) = start_both(ONE_ENDS, write(hdf5_layer(), 3), exchange)
    assert states == [1, 0]
    assert "solver 0 of 2 cannot go on without the others: one of them has ended" in said
    assert "Traceback" not in said
