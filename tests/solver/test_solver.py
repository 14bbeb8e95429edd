"""The loop: what happens when, what is said of it, and what is refused."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.errors import ArgumentError, CaffeError, CaffeWarning, NetError, WeightsError
from caffe.logs import logger
from caffe.solver.smoothed_loss import SmoothedLoss
from caffe.solver.solver import Action

NET = """
name: "regression"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3] } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: [4, 2] } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
SGD = 'base_lr: 0.1 lr_policy: "fixed" random_seed: 3 snapshot_after_train: false '


@pytest.fixture
def net_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return path


@pytest.fixture
def lines(net_file: Path) -> Iterator[Callable[[], list[str]]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield lambda: stream.getvalue().splitlines()
    logger.removeHandler(handler)
    logger.setLevel(level)


def solver(text: str = "", kind: type[caffe.Solver] | None = None) -> caffe.Solver:
    Path("solver.prototxt").write_text(f'net: "net.prototxt" {SGD} {text}')
    made = caffe.get_solver("solver.prototxt") if kind is None else kind("solver.prototxt")
    rng = np.random.default_rng(0)
    for net in (made.net, *made.test_nets):
        net.blobs["x"].data[...] = rng.normal(size=(4, 3))
        net.blobs["t"].data[...] = rng.normal(size=(4, 2))
    return made


def weights(made: caffe.Solver) -> np.ndarray:
    return made.net.params["y"][0].data.copy()


def test_types_choose_their_solvers(net_file: Path) -> None:
    for name in ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"):
        assert type(solver(f'type: "{name}"')).__name__ == f"{name}Solver"
    assert type(solver("solver_type: ADAM")).__name__ == "AdamSolver"
    assert type(solver('type: "Adam"', caffe.SGDSolver)) is caffe.SGDSolver
    with pytest.raises(NetError, match=r"solver\.prototxt:1: unknown solver type 'Adma'"):
        solver('type: "Adma"')


def test_training_learns(net_file: Path) -> None:
    made = solver("momentum: 0.9")
    made.step(1)
    before = float(made.net.blobs["loss"].data)
    made.step(100)
    assert made.iter == 101
    assert float(made.net.blobs["loss"].data) < before / 10
    assert made.lr == pytest.approx(0.1)


def test_several_batches_make_one_step(net_file: Path) -> None:
    one, two = solver(), solver("iter_size: 2 weight_decay: 0")
    one.step(1)
    two.step(1)
    # The same batch twice: the mean gradient is the same.
    np.testing.assert_allclose(weights(one), weights(two), rtol=1e-6)


def test_callbacks_see_the_start_and_the_gradients(net_file: Path) -> None:
    made = solver()
    seen: list[object] = []
    made.add_callback(
        lambda: seen.append(("start", made.net.params["y"][0].diff.any())),
        lambda: seen.append(("gradients", made.net.params["y"][0].diff.any())),
    )
    made.step(2)
    assert seen == [("start", False), ("gradients", True)] * 2
    with pytest.raises(ArgumentError, match="two functions"):
        made.add_callback(3, lambda: None)  # type: ignore[arg-type]


def test_a_rate_of_zero_moves_only_the_history(net_file: Path) -> None:
    net_file.write_text(
        NET.replace("inner_product_param", "param { lr_mult: 0 } inner_product_param")
    )
    made = solver("momentum: 0.9")
    before = weights(made)
    made.step(3)
    np.testing.assert_array_equal(weights(made), before)


def test_parameters_that_share_move_once(net_file: Path) -> None:
    shared = 'param { name: "w" } param { name: "b" } inner_product_param { num_output: 3'
    net_file.write_text(
        NET.replace("inner_product_param { num_output: 2", shared).replace("[4, 2]", "[4, 3]")
        + f"""layer {{ name: "z" type: "InnerProduct" bottom: "y" top: "z" {shared} }} }}
        layer {{ name: "more" type: "EuclideanLoss" bottom: "z" bottom: "t" top: "more" }}"""
    )
    Path("solver.prototxt").write_text(f'net: "net.prototxt" {SGD}')
    made = caffe.get_solver("solver.prototxt")
    made.net.blobs["x"].data[...] = 1
    made.step(1)
    first, second = made.net.params["y"][0], made.net.params["z"][0]
    np.testing.assert_array_equal(first.data, second.data)
    assert first.diff.any()


def test_the_log_has_the_originals_lines(lines: Callable[[], list[str]]) -> None:
    made = solver(
        "max_iter: 4 display: 2 test_interval: 2 test_iter: 3 clip_gradients: 0.01 average_loss: 2"
    )
    made.solve()
    told = lines()
    assert told[:2] == [
        "snapshot_prefix was not specified and is set to solver",
        "Initializing solver from parameters: ",
    ]
    assert told.count("Creating training net from net file: net.prototxt") == 1
    assert told.count("Creating test net (#0) specified by net file: net.prototxt") == 1
    told = told[told.index("Solver scaffolding done.") :]
    found = [re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "N", line) for line in told]
    test = ["Iteration N, Testing net (#N)", "    Test net output #N: loss = N (* N = N loss)"]
    shown = [
        "Iteration N (N iter/s, Ns/N iters), loss = N",
        "    Train net output #N: loss = N (* N = N loss)",
        "Iteration N, lr = N",
    ]
    clipped = "Gradient clipping: scaling down gradients (LN norm N > N) by scale factor N"
    assert found == [
        "Solver scaffolding done.",
        "Solving regression",
        "Learning Rate Policy: fixed",
        *[*test, *shown, clipped, clipped] * 2,
        "Iteration N, loss = N",
        *test,
        "Optimization Done.",
    ]


def test_tests_share_the_weights(net_file: Path) -> None:
    made = solver("test_interval: 100 test_iter: 1 test_iter: 2 test_initialization: false")
    assert len(made.test_nets) == 2
    made.step(1)
    made.test_nets[1].blobs["x"].data[...] = made.net.blobs["x"].data
    made.net.forward()
    assert np.array_equal(made.test_nets[1].forward(end="y")["y"], made.net.blobs["y"].data)


def test_states_choose_layers_and_the_solvers_go_first(net_file: Path) -> None:
    net_file.write_text(
        NET + 'layer { name: "more" type: "Power" bottom: "y" top: "more" include '
        '{ phase: TRAIN min_level: 2 stage: "deep" } } state { level: 1 stage: "deep" }'
    )
    assert "more" not in solver().net.blobs
    assert "more" in solver("train_state { level: 2 }").net.blobs


def test_an_action_stops_and_keeps(net_file: Path) -> None:
    made = solver('max_iter: 10 snapshot_prefix: "s"')
    made.action = lambda: (Action.NONE, Action.SNAPSHOT, Action.STOP)[min(made.iter - 1, 2)]
    made.solve()
    assert made.iter == 3
    assert {path.name for path in Path().glob("s_*")} == {
        "s_iter_2.caffemodel",
        "s_iter_2.solverstate",
        "s_iter_2.solverstate.json",
    }


def test_snapshots_come_when_they_are_due_and_go_on(net_file: Path) -> None:
    text = 'max_iter: 6 snapshot: 4 snapshot_prefix: "s" momentum: 0.9 '
    made = solver(text)
    made.param.snapshot_after_train = True
    made.solve()
    kinds = {".caffemodel", ".solverstate", ".json"}
    assert {path.suffix for path in Path().glob("s_iter_6*")} == kinds
    again = solver(text)
    again.net.blobs["x"].data[...] = made.net.blobs["x"].data
    again.solve("s_iter_4.solverstate")
    np.testing.assert_array_equal(weights(again), weights(made))


def test_a_state_that_was_moved_finds_its_weights(net_file: Path) -> None:
    made = solver('snapshot_prefix: "s"')
    made.step(2)
    made.snapshot()
    Path("kept").mkdir()
    for path in Path().glob("s_iter_2*"):
        path.rename(Path("kept") / path)
    before = weights(made)
    made.step(1)
    made.restore("kept/s_iter_2.solverstate")
    assert made.iter == 2
    np.testing.assert_array_equal(weights(made), before)
    Path("kept/s_iter_2.caffemodel").unlink()
    with pytest.raises(WeightsError, match=r"neither s_iter_2\.caffemodel nor beside it"):
        made.restore("kept/s_iter_2.solverstate")


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_plateau_goes_on_from_a_snapshot(net_file: Path, form: str) -> None:
    if form == "HDF5":
        pytest.importorskip("h5py")
    text = (
        'lr_policy: "plateau" gamma: 0.5 plateau_winsize: 3 plateau_winsize: 3 '
        f'snapshot_prefix: "s" snapshot_format: {form}'
    )
    Path("solver.prototxt").write_text(f'net: "net.prototxt" base_lr: 0 {text}')
    made, again = (caffe.get_solver("solver.prototxt") for _ in range(2))
    made.step(5)
    assert made._rate.plateau.iter_last_event == 3
    made.snapshot()
    ending = "solverstate.h5" if form == "HDF5" else "solverstate"
    # As from SSD or Intel: nothing beside it.
    Path(f"s_iter_5.{ending}.json").unlink()
    again.restore(f"s_iter_5.{ending}")
    assert again._rate.plateau == made._rate.plateau
    again.step(1)
    assert again._rate.current_step == 1
    again.step(1)
    assert again._rate.current_step == 2


def test_a_state_of_another_solver_is_refused(net_file: Path) -> None:
    made = solver('snapshot_prefix: "s"')
    made.snapshot()
    with pytest.raises(WeightsError, match="has 2 history blobs, but this solver keeps 4"):
        solver('type: "Adam"').restore("s_iter_0.solverstate")
    net_file.write_text(NET.replace("dim: [4, 3]", "dim: [4, 5]"))
    Path("solver.prototxt").write_text(f'net: "net.prototxt" {SGD}')
    other = caffe.get_solver("solver.prototxt")
    with pytest.raises(WeightsError, match=r"history blob 0 has the shape \(2, 3\)"):
        other.restore("s_iter_0.solverstate")
    with pytest.raises(CaffeError, match=r"s_iter_0\.caffemodel"):
        other.restore("s_iter_0.caffemodel")


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("SGD", "AdaGrad", "history blob 0 has negative numbers, but this solver keeps sums of"),
        ("AdaGrad", "SGD", r"kept sums of squares of the gradients, this one \(SGD\) keeps steps"),
        ("AdaDelta", "Adam", r"kept means of squares and .* this one \(Adam\) keeps means and"),
        ("SGD", "Nesterov", None),
        ("Adam", "AdamW", None),
    ],
)
def test_what_a_solver_remembers_is_no_other_types(
    net_file: Path, first: str, then: str, message: str | None
) -> None:
    made = solver(f'snapshot_prefix: "s" type: "{first}"')
    made.step(2)
    made.snapshot()
    other = solver(f'snapshot_prefix: "s" type: "{then}"')
    if message is None:
        other.restore("s_iter_2.solverstate")
        assert other.iter == 2
        return
    before = weights(other).copy()
    with pytest.raises(WeightsError, match=message):
        other.restore("s_iter_2.solverstate")
    assert other.iter == 0
    np.testing.assert_array_equal(weights(other), before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_iter: 1", "'fixed' goes by base_lr, which the text does not say: 0 is taken"),
        ('base_lr: 1 max_iter: 1 lr_policy: "inv"', "'inv' goes by gamma and power, which"),
        ('base_lr: 1 max_iter: 1 lr_policy: "step" stepsize: 9', "'step' goes by gamma, which"),
        ("base_lr: 1 max_iter: 1 test_interval: 1", "test_interval does nothing without test_it"),
        ("base_lr: 1", "does not say max_iter: nothing is trained"),
    ],
)
def test_what_the_text_leaves_out_is_told_of(net_file: Path, text: str, message: str) -> None:
    policy = "" if "lr_policy" in text else 'lr_policy: "fixed"'
    made = caffe.get_solver(f'net: "net.prototxt" snapshot_prefix: "s" {policy} {text}')
    with pytest.warns(CaffeWarning, match=message):
        made.solve()


def test_a_training_that_is_done_says_so(net_file: Path) -> None:
    text = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "s" max_iter: 2'
    caffe.get_solver(text).solve()
    with pytest.warns(CaffeWarning, match="has done 2 iterations, and max_iter is 2"):
        caffe.get_solver(text).solve("s_iter_2.solverstate")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_a_folder_is_tried_before_the_first_step(net_file: Path) -> None:
    with pytest.raises(NetError, match="snapshot_prefix '/proc/s': no files can be written there"):
        solver('snapshot: 1 snapshot_prefix: "/proc/s"')


def test_weights_to_start_from_are_taken(net_file: Path) -> None:
    made = solver()
    made.net.save("start.caffemodel")
    again = solver(
        'random_seed: 9 weights: "start.caffemodel, start.caffemodel"'.replace(
            "random_seed: 9 ", ""
        )
    )
    np.testing.assert_array_equal(weights(again), weights(made))


def test_weights_that_are_not_there_are_named_before_a_net_is_made(
    net_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    param = tmp_path / "solver.prototxt"
    param.write_text(f'net: "{net_file}" base_lr: 1 lr_policy: "fixed" weights: "gone.caffemodel"')
    with pytest.raises(
        caffe.CaffeError, match=r"^gone\.caffemodel: there is no such file"
    ) as raised:
        caffe.SGDSolver(str(param))
    assert isinstance(raised.value, FileNotFoundError)
    assert "Creating training net" not in capfd.readouterr().err


DEEP = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3] } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: [4, 2] } } }
layer { name: "one" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "a" top: "n" }
layer { name: "two" type: "InnerProduct" bottom: "n" top: "y"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""


def test_frozen_layers_are_left_as_they_are(net_file: Path) -> None:
    net_file.write_text(DEEP)
    made = solver('momentum: 0.9 weight_decay: 0.1 freeze: "one" freeze: "n*"')
    before = {name: [b.data.copy() for b in blobs] for name, blobs in made.net.params.items()}
    made.step(3)
    for name in ("one", "norm"):
        for blob, values in zip(made.net.params[name], before[name], strict=True):
            np.testing.assert_array_equal(blob.data, values)
    assert (made.net.params["two"][0].data != before["two"][0]).any()
    # Nothing below asks for a gradient, so that none is computed.
    assert not made.net.blobs["a"].diff.any()
    with pytest.raises(NetError, match=r"'too' is no layer's name; did you mean 'two'"):
        solver('freeze: "too"')


def test_another_net_may_share_the_weights(net_file: Path) -> None:
    made = solver()
    net = caffe.Net("net.prototxt", caffe.TEST)
    made.share_weights(net)
    made.step(1)
    np.testing.assert_array_equal(net.params["y"][0].data, made.net.params["y"][0].data)


def test_a_test_of_no_batch_tests_nothing(net_file: Path) -> None:
    # As HED's published solver has it.
    text = """net: "net.prototxt" test_iter: 0 test_interval: 1 test_initialization: true
    base_lr: 0.1 lr_policy: "fixed" max_iter: 2"""
    Path("solver.prototxt").write_text(text)
    solver = caffe.get_solver("solver.prototxt")
    solver.solve()
    assert solver.iter == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base_lr: nan", "base_lr must be a number, not nan"),
        ("gamma: inf", "gamma must be a number, not inf"),
        ("base_lr: -1", "base_lr must not be negative"),
        ("momentum: -1", "momentum must be at least 0"),
        ('lr_policy: "step"', "lr_policy 'step' needs a stepsize above 0"),
        ('lr_policy: "multistep"', "lr_policy 'multistep' needs stepvalue"),
        ('test_net: "net.prototxt"', "test_iter must be given once for each of 1 test nets"),
        ("test_iter: 1", "no test_interval above 0"),
        ("test_iter: -1", "test_iter must not be negative"),
        ('type: "AdaGrad" momentum: 0.9', "momentum cannot be used with AdaGrad"),
        ('type: "RMSProp" rms_decay: 1', "rms_decay must be in"),
        ("momentum: 9", "momentum must be at most 1, not 9"),
        ('type: "AdaGrad" delta: -1', "delta must be at least 0"),
        ("larc: true larc_eta: -1", "larc_eta must be at least 0"),
        ("local_lr_auto: true local_gw_ratio: -1", "local_gw_ratio must be at least 0"),
        (
            'lr_policy: "multifixed" stagelr: -1 stageiter: 5',
            "stagelr must be numbers from 0 on, not [-1.0]",
        ),
        ('lr_policy: "multistep" stepvalue: -1', "needs stepvalue in order, from 0 on, not [-1]"),
        ('snapshot: 1 snapshot_prefix: "no/s"', "snapshot_prefix 'no/s': there is no such folder"),
    ],
)
def test_what_cannot_be_names_file_and_line(net_file: Path, text: str, message: str) -> None:
    path = Path("solver.prototxt")
    policy = "" if "lr_policy" in text else 'lr_policy: "fixed"'
    path.write_text(f'# base_lr: 7\nnet: "net.prototxt" {policy}\n\n{text}\n')
    with pytest.raises(NetError) as caught:
        caffe.get_solver(path)
    assert str(caught.value).startswith("solver.prototxt:4: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly one of net, net_param, train_net, train_net_param .* but none of them"),
        ('net: "a" train_net: "b"', "but net and train_net are given"),
        ('net: "net.prototxt" iter_size: 0', "iter_size must be at least 1"),
        ('net: "net.prototxt" momentum: -1', "momentum must be at least 0"),
        ('net: "net.prototxt" type: "AdaGrad" momentum: 0.9', "momentum cannot be used"),
        ('net: "net.prototxt" type: "RMSProp" rms_decay: 1', r"rms_decay must be in \[0, 1\)"),
        ('net: "net.prototxt" type: "Adam" momentum: 1', r"momentum must be in \[0, 1\)"),
        ('net: "net.prototxt" regularization_type: "L3"', "must be L1 or L2"),
        ('net: "net.prototxt" test_iter: -1 test_interval: 1', "must not be negative"),
        ('net: "net.prototxt" test_iter: 1', "no test_interval above 0"),
        ('net: "net.prototxt" test_net: "net.prototxt"', "once for each of 1 test nets"),
        ('net: "net.prototxt" test_state { } test_state { }', "test_state must be given once"),
        ('net: "absent.prototxt"', r"absent\.prototxt"),
        ('net: "net.prototxt" snapshot: 1 snapshot_prefix: "no/where"', "there is no such folder"),
        ('net: "net.prototxt" weights: "absent"', "absent"),
        ('net: "net.prototxt" type: "SGD" solver_type: SGD', "both solver_type"),
    ],
)
def test_what_makes_no_training_is_refused(net_file: Path, text: str, message: str) -> None:
    path = Path("solver.prototxt")
    path.write_text(f'base_lr: 1 lr_policy: "fixed"\n{text}\n')
    with pytest.raises(CaffeError, match=message):
        caffe.get_solver(path)


def test_an_error_names_the_solvers_line(net_file: Path) -> None:
    path = Path("solver.prototxt")
    path.write_text('base_lr: 1\nlr_policy: "fixde"\nnet: "net.prototxt"\n')
    with pytest.raises(NetError, match=r"^solver\.prototxt:2: unknown lr_policy 'fixde'"):
        caffe.get_solver(path)
    with pytest.raises(ArgumentError, match="a solver takes its prototxt's path"):
        caffe.get_solver(3)  # type: ignore[arg-type]


def test_the_smoothed_loss_is_the_mean_of_the_last() -> None:
    loss, values = SmoothedLoss(3), [5.0, 1.0, 3.0, 8.0, 2.0]
    for i, value in enumerate(values):
        loss.add(value)
        assert loss.value == pytest.approx(np.mean(values[max(0, i - 2) : i + 1]))
    loss.restart()
    assert loss.value == 0


def test_the_gpu_and_the_cpu_agree(net_file: Path) -> None:
    made = solver("momentum: 0.9")
    made.step(5)
    expected = weights(made)
    try:
        caffe.set_mode_gpu()
    except CaffeError as error:
        pytest.skip(str(error))
    try:
        again = solver("momentum: 0.9")
        again.step(5)
        np.testing.assert_allclose(weights(again), expected, rtol=1e-4, atol=1e-6)
    finally:
        caffe.set_mode_cpu()
