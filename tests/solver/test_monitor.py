"""The best test, and when tests get no better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.errors import NetError
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.text import parse_text
from caffe.solver.monitor import Monitor

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3] } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 1 weight_filler { type: "constant" value: 1 } } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }
layer { name: "score" type: "Reduction" bottom: "y" top: "score" reduction_param { coeff: -1 }
        include { phase: TEST } }
"""


def monitor(text: str) -> Monitor:
    return Monitor(parse_text(text, SolverParameter()), {"accuracy": 0.0, "cost": 1.0})


def solver(folder: Path, text: str = "") -> caffe.Solver:
    (folder / "net.prototxt").write_text(NET)
    path = folder / "solver.prototxt"
    path.write_text(
        f'net: "{folder}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" test_iter: 1 '
        f'test_interval: 1 max_iter: 9 snapshot_prefix: "{folder}/s" {text}'
    )
    made = caffe.get_solver(path)
    made.net.blobs["x"].data[...] = 1
    return made


def test_more_or_less_is_better_by_what_the_output_is() -> None:
    for text, wants_less in (
        ('monitor: "accuracy"', False),
        ('monitor: "cost"', True),
        ('monitor: "accuracy" monitor_mode: "min"', True),
        ('monitor: "cost" monitor_mode: "max"', False),
    ):
        assert monitor(text).wants_less == wants_less


def test_the_best_is_the_first_of_equal_ones() -> None:
    found = monitor('monitor: "accuracy" early_stop: 2')
    assert [found.see(v, i) for i, v in enumerate([0.1, 0.5, 0.5, 0.4, float("nan")])] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert (found.best, found.iteration, found.worse) == (0.5, 1, 3)
    assert found.is_exhausted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('monitor: "acuracy"', "no output of a net that tests; did you mean 'accuracy'"),
        ("snapshot_best: true", "snapshot_best needs monitor, .*: accuracy, cost"),
        ("early_stop: 3", "early_stop needs monitor"),
        ('monitor: "cost" monitor_mode: "least"', "must be auto, max, min"),
    ],
)
def test_what_cannot_be_watched_is_refused(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        monitor(text)


def test_the_best_snapshot_goes_on_from_its_test(tmp_path: Path) -> None:
    made = solver(tmp_path, 'monitor: "loss" snapshot_best: true')
    made.test_nets[0].blobs["x"].data[...] = 1
    made.step(3)
    assert made._monitor.iteration == 2
    best = tmp_path / "s_best.solverstate"
    assert best.exists()
    again = solver(tmp_path, 'monitor: "loss" snapshot_best: true')
    again.restore(best)
    assert again.iter == 2
    assert again._monitor.state() == made._monitor.state()
    seen: list[float] = []
    again._test_all = lambda: seen.append(again.iter)  # type: ignore[method-assign]
    again.step(1)
    assert seen == []
    np.testing.assert_array_equal(again.net.params["y"][0].data, made.net.params["y"][0].data)


def test_training_stops_where_tests_get_no_better(tmp_path: Path) -> None:
    made = solver(tmp_path, 'monitor: "score" monitor_mode: "min" early_stop: 3 snapshot: 0')
    made.test_nets[0].blobs["x"].data[...] = 1
    # The loss falls, so that its negative is best at the start.
    made.solve()
    assert made.iter == 3
    assert (tmp_path / "s_iter_3.caffemodel").exists()


def test_only_the_newest_snapshots_stay(tmp_path: Path) -> None:
    text = 'snapshot: 1 snapshot_keep: 2 monitor: "loss" snapshot_best: true'
    made = solver(tmp_path, text)
    made.step(4)
    again = solver(tmp_path, text)
    again.restore(tmp_path / "s_iter_4.solverstate")
    again.step(1)
    kept = sorted(path.name for path in tmp_path.glob("s_*"))
    endings = ("caffemodel", "solverstate", "solverstate.json")
    assert kept == sorted(f"s_{n}.{end}" for n in ("best", "iter_4", "iter_5") for end in endings)
