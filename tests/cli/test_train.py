"""`caffe train`: its options, the original's log, and what stops a training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe import devices
from caffe.cli.train import _in_processes
from caffe.proto.caffe_pb2 import Datum
from caffe.solver import communication
from tests.helpers.command import caffe_command
from tests.helpers.digits import REAL_TRAININGS, lay_digits, save_weights
from tests.helpers.logs import assert_same_log, lines
from tests.helpers.sources import write_lmdb
from tests.helpers.tiny_training import lay_training
from tests.solver.test_sidecar import lmdb_layer

run = partial(caffe_command, "train")


RECORDS = """name: "records"
layer { name: "d" type: "Data" top: "x" top: "t"
  data_param { source: "db" backend: LMDB batch_size: 2 } }
layer {
  name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }
"""


def record(label: int, side: int = 2) -> bytes:
    """A grey picture as stores hold it."""
    picture = Datum(channels=1, height=side, width=side, data=bytes(side * side), label=label)
    return picture.SerializeToString()


@pytest.fixture
def solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return lay_training(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", REAL_TRAININGS)
def test_the_log_is_the_originals(shared: Path, tmp_path: Path, name: str) -> None:
    with np.load(shared / f"goldens/training/train_{name}.npz") as stored:
        golden = dict(stored)
    lay_digits(shared, tmp_path)
    net, text = tmp_path / "net.prototxt", tmp_path / "solver.prototxt"
    net.write_text(str(golden["net"]).replace("DIR/", f"{tmp_path}/"))
    text.write_text(
        f'net: "{net}" test_iter: 4 test_interval: 20 max_iter: {golden["iterations"]} '
        f'display: 10 solver_mode: CPU snapshot_prefix: "{tmp_path}/s" random_seed: 1 '
        + str(golden["solver"])
    )
    save_weights(golden, caffe.Net(net, caffe.TRAIN), "param", tmp_path / "start.caffemodel")
    result = run("-solver", text, "-weights", tmp_path / "start.caffemodel")
    assert result.exit_code == 0, result.stderr
    assert_same_log(result.stderr.replace(f"{tmp_path}/", "DIR/"), str(golden["log"]), rel=0.05)
    weights = tmp_path / f"s_iter_{golden['iterations']}.caffemodel"
    result = caffe_command("test", "-model", net, "-weights", weights, "-iterations", 4)
    told = result.stderr.replace(f"{tmp_path}/", "DIR/")
    assert_same_log(told, str(golden["test_log"]), rel=0.05)


def test_a_training_goes_on_from_a_snapshot(solver: Path) -> None:
    first = run("--solver", solver)
    assert first.exit_code == 0, first.stderr
    assert lines(first.stderr)[-1] == "Optimization Done."
    weights = Path("s_iter_4.caffemodel").read_bytes()
    again = run("-solver=solver.prototxt", "-snapshot=s_iter_2.solverstate")
    told = lines(again.stderr)
    assert "Resuming from s_iter_2.solverstate" in told
    assert told.index("Resuming from s_iter_2.solverstate") < told.index("Starting Optimization")
    assert "Iteration 0, Testing net (#0)" not in told
    assert Path("s_iter_4.caffemodel").read_bytes() == weights


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            {3: b"\xff\xff"},
            "net.prototxt:2: layer 'd' (Data): db: entry '03': the value of 2 bytes",
        ),
        (
            {3: record(0, 3)},
            "net.prototxt:2: layer 'd' (Data): db: entry '03': the picture has the",
        ),
        (
            {3: record(7)},
            "net.prototxt:7: layer 'loss' (SoftmaxWithLoss): bottom 't' holds the label 7",
        ),
        (
            {3: record(-1)},
            "net.prototxt:7: layer 'loss' (SoftmaxWithLoss): bottom 't' holds the label",
        ),
    ],
)
def test_bad_records_are_told_with_the_nets_file_and_line(
    solver: Path, records: dict[int, bytes], message: str
) -> None:
    entries = {b"%02d" % i: records.get(i, record(0)) for i in range(6)}
    write_lmdb(Path("db"), entries)
    Path("net.prototxt").write_text(RECORDS)
    for _ in range(2):
        result = run("-solver", solver)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith(f"caffe: {message}")


def test_a_bad_record_is_told_alike_each_time(solver: Path) -> None:
    write_lmdb(Path("db"), {b"1": record(0), b"2": b"\xff"})
    Path("net.prototxt").write_text(RECORDS)
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    told = set()
    for _ in range(3):
        with pytest.raises(caffe.ParseError) as caught:
            net.forward()
        told.add(str(caught.value))
    assert len(told) == 1


def test_where_nothing_can_be_written_is_told_before_the_training(solver: Path) -> None:
    text = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2\n'
    solver.write_text(f'{text}snapshot_prefix: "no/s"\n')
    result = run("-solver", solver)
    assert result.exit_code == 1
    assert "solver.prototxt:2: snapshot_prefix 'no/s': there is no such folder" in result.stderr
    assert "Starting Optimization" not in result.stderr


def test_weights_and_snapshot_exclude_each_other(solver: Path) -> None:
    result = run("-solver", solver, "-weights", "a.caffemodel", "-snapshot", "s.solverstate")
    assert result.exit_code == 2
    assert "take out --weights" in result.stderr


def test_weights_of_the_command_line_take_the_place_of_the_texts(solver: Path) -> None:
    solver.write_text(solver.read_text() + ' weights: "none.caffemodel"')
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    for name, value in (("a", 1), ("b", 2)):
        net.params["y"][0].data[...] = value
        net.save(f"{name}.caffemodel")
    result = run("-solver", solver, "-weights", "a.caffemodel, b.caffemodel")
    assert result.exit_code == 0, result.stderr
    # Once for the net that is trained and once for the one that tests.
    assert lines(result.stderr).count("Finetuning from b.caffemodel") == 2
    assert 'weights: "a.caffemodel, b.caffemodel"' in lines(result.stderr)


def test_level_and_stages_choose_layers(solver: Path) -> None:
    told = lines(run("-solver", solver, "-level", 2, "-stage", "extra,more").stderr)
    assert "Creating Layer deep" in told
    assert "Creating Layer staged" in told
    # The net that tests has a state of its own.
    assert told.count("Creating Layer deep") == 1


def test_a_gpu_that_the_text_asks_for_may_be_missing(
    solver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "device_facts", lambda: devices.DeviceFacts("2.9", None))
    solver.write_text(solver.read_text() + " solver_mode: GPU")
    result = run("-solver", solver)
    assert result.exit_code == 0
    assert "so that the CPU trains" in result.stderr
    assert "Use CPU." in lines(result.stderr)
    result = run("-solver", solver, "-gpu", 0)
    assert result.exit_code == 1
    assert "GPU mode is not possible" in result.stderr
    result = run("-solver", solver, "-gpu", "0,1")
    assert result.exit_code == 1
    assert "GPU mode is not possible" in result.stderr


@pytest.mark.parametrize(("gpu", "expected"), [("all", [0, 1, 2]), ("2,0", [2, 0, 2])])
def test_each_process_of_torchrun_takes_a_gpu_of_its_own(
    gpu: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = (devices.Card("H200", 0, "sm_90"),) * 3
    facts = devices.DeviceFacts("2.11", "cuda", ("sm_90",), cards)
    monkeypatch.setattr(devices, "device_facts", lambda: facts)
    # There are no others that it could join.
    monkeypatch.setattr(communication, "join", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "3")
    taken = []
    try:
        for rank in range(3):
            monkeypatch.setenv("LOCAL_RANK", str(rank))
            number, _ = _in_processes(gpu, None)
            store = caffe.mode.current_store()
            assert store is not None
            assert store.device.index == number
            taken.append(number)
    finally:
        monkeypatch.undo()
        caffe.mode._state.device = 0
        caffe.set_mode_cpu()
    assert taken == expected


def test_iterations_mean_nothing_as_in_the_original(solver: Path) -> None:
    result = run("-solver", solver, "-iterations", 1)
    assert "max_iter says how many" in result.stderr
    assert Path("s_iter_4.caffemodel").is_file()


def test_what_is_wrong_names_file_and_line(solver: Path) -> None:
    assert run().exit_code == 2
    solver.write_text(
        solver.read_text().replace("lr_policy", "\nlr_policy").replace("fixed", "fix")
    )
    result = run("-solver", solver)
    assert result.exit_code == 1
    assert "solver.prototxt:2: unknown lr_policy 'fix'" in result.stderr


def endless(solver: Path, **options: object) -> subprocess.Popen[str]:
    """Start a training that ends by a signal only."""
    solver.write_text(solver.read_text().replace("max_iter: 4", "max_iter: 2000000000"))
    solver.write_text(solver.read_text().replace("snapshot: 2", "").replace("test_iter: 1", ""))
    words = [sys.executable, "-m", "caffe", "train", "-solver", str(solver)]
    # The folder is another one than that from which a relative path would lead to the package.
    env = os.environ | {"PYTHONPATH": str(Path(caffe.__file__).parents[1])}
    return subprocess.Popen(words, text=True, env=env, **options)  # type: ignore[call-overload, no-any-return]


def test_an_interrupt_keeps_a_snapshot_and_tells_how_to_go_on(solver: Path) -> None:
    with endless(solver, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Iteration 2 " in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 0, rest[-600:]
    assert "Optimization stopped early." in lines(rest)
    (state,) = Path().glob("*.solverstate")
    assert f"caffe train --solver solver.prototxt --snapshot {state}" in rest


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals to be had")
def test_on_a_terminal_a_line_lives(solver: Path) -> None:
    ours, theirs = os.openpty()
    with endless(solver, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = ""
        while "iter/s" not in shown:
            shown += os.read(ours, 4096).decode(errors="replace")
        process.send_signal(signal.SIGINT)
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk.decode(errors="replace")
        except OSError:
            # So Linux says that nobody is at the other end any more.
            pass
    os.close(ours)
    assert process.returncode == 0, shown[-600:]
    assert "loss " in shown
    assert "go on with" in shown
    assert "Setting up" not in shown


def test_a_table_and_a_loss_that_is_no_number(solver: Path) -> None:
    solver.write_text(solver.read_text().replace("base_lr: 0.05", "base_lr: 1e30"))
    result = run("-solver", solver, "-csv", "t.csv")
    assert result.exit_code == 1
    assert "layer 'loss' (EuclideanLoss), blob 'loss'" in result.stderr
    assert len(Path("t.csv").read_text().splitlines()) >= 2
    assert not list(Path().glob("*_iter_4*"))


def test_what_weights_initialised_is_told(solver: Path) -> None:
    net = Path("net.prototxt")
    net.write_text(
        net.read_text() + 'layer { name: "more" type: "InnerProduct" bottom: "x" top: "more" '
        "inner_product_param { num_output: 1 } }"
    )
    caffe.Net(net, caffe.TRAIN).save("old.caffemodel")
    result = run("-solver", solver, "-weights", "old.caffemodel")
    assert "all 2 layers with parameters are from the files" in result.stdout
    net.write_text(net.read_text().replace('name: "more"', 'name: "more_new"'))
    result = run("-solver", solver, "-weights", "old.caffemodel")
    assert "more_new (did you mean 'more'?)" in result.stdout
    assert "did you mean" not in result.stderr


def test_options_freeze_layers_and_keep_the_best(solver: Path) -> None:
    result = run(
        *("-solver", solver, "--freeze", "y*", "--monitor", "loss", "--keep-best"),
        *("--early-stop", 1, "--keep", 1),
    )
    assert result.exit_code == 0, result.stderr
    # Nothing is learned, so that the second test is no better.
    assert "Optimization stopped early." in lines(result.stderr)
    kept = {path.name for path in Path().glob("s_*.caffemodel")}
    assert kept == {"s_best.caffemodel", "s_iter_2.caffemodel"}
    assert run("-solver", solver, "--freeze", "z").exit_code == 1


def test_a_rate_is_found_and_drawn(solver: Path) -> None:
    result = run("-solver", solver, "--lr-find", "--lr-range", "1e-4,100", "--lr-steps", 40)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("suggested base_lr: ")
    if "drawn" in result.stdout:
        assert Path("solver_lr_find.png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path().glob("s_*"))
    assert run("-solver", solver, "--lr-find", "--lr-range", "1").exit_code == 2


def test_two_processes_train_as_one_with_the_whole_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = lmdb_layer().replace("crop_size: 6 mirror: true", "")
    for batch in (6, 3):
        Path(f"net{batch}.prototxt").write_text(
            plain.replace("batch_size: 3", f"batch_size: {batch}")
            + """layer { name: "y" type: "InnerProduct" bottom: "data" top: "y"
            inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
            layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" }"""
        )
        Path(f"solver{batch}.prototxt").write_text(
            f'net: "net{batch}.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 4 display: 2 '
            f'snapshot_prefix: "s{batch}" random_seed: 4 solver_mode: CPU'
        )
    assert run("-solver", "solver6.prototxt").exit_code == 0
    command = [sys.executable, "-m", "caffe", "train", "-solver", "solver3.prototxt"]
    both = subprocess.run(
        [*command, "--processes", "2"],
        env={**os.environ, "PYTHONPATH": str(Path(caffe.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert both.returncode == 0, both.stderr
    told = lines(both.stderr)
    # The first alone tells.
    assert sum("Iteration 2, lr = 0.01" in line for line in told) == 1
    one, other = (caffe.Net(f"net{b}.prototxt", f"s{b}_iter_4.caffemodel", 1) for b in (6, 3))
    for mine, its in zip(one.params["y"], other.params["y"], strict=True):
        np.testing.assert_allclose(mine.data, its.data, rtol=1e-5, atol=1e-6)
