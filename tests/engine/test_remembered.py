"""What was the quickest is known to the next process, as long as it may be believed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from caffe import switches
from caffe.engine import remembered
from caffe.engine.backends.choice import LIBRARIES, PATIENCE, PYTORCH, TRIAL
from tests.engine.test_choice import Rival, choice_of, run, runs
from tests.engine.test_trial import NET, PICTURES, RUNS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(switches.REMEMBER, "1")
    yield tmp_path / "home" / remembered.FILE
    caffe.set_engine("auto")


def age(home: Path, days: float) -> None:
    """Let what is kept be so many days older."""
    entries = json.loads(home.read_text())
    for entry in entries.values():
        entry["found_at"] -= days * remembered.DAY
    home.write_text(json.dumps(entries))


def test_a_finding_holds_longer_the_more_trials_agree(home: Path) -> None:
    key = remembered.key_of("work")
    assert remembered.recall(key) is None
    for trials, days in ((1, 1), (2, 2), (3, 4)):
        remembered.note(key, "a", {"a": 0.5, "b": 1.0})
        finding = remembered.recall(key)
        assert finding is not None
        assert (finding.chosen, finding.trials) == ("a", trials)
        age(home, days - 0.1)
        assert remembered.recall(key) is not None
        age(home, 0.2)
        assert remembered.recall(key) is None
    remembered.note(key, "b", {"a": 1.0, "b": 0.5})
    finding = remembered.recall(key)
    assert finding is not None
    assert (finding.chosen, finding.trials) == ("b", 1)
    # A clock that was set back.
    age(home, -3)
    assert remembered.recall(key) is None


def test_what_was_found_while_others_wanted_the_cpus_holds_for_an_hour(home: Path) -> None:
    key = remembered.key_of("work")
    for _ in range(2):
        remembered.note(key, "a", {"a": 0.5, "b": 1.0}, is_sure=False)
        age(home, 0.9 / 24)
        assert remembered.recall(key) is not None
        age(home, 0.2 / 24)
        assert remembered.recall(key) is None
    remembered.note(key, "a", {"a": 0.5, "b": 1.0})
    age(home, 0.9)
    assert remembered.recall(key) is not None


@pytest.mark.usefixtures("rivals")
def test_a_trial_on_a_busy_machine_is_made_again_after_an_hour(home: Path) -> None:
    for is_disturbed in (True, False):
        runs(choice_of(Rival("a", 0.5)), PATIENCE + TRIAL, is_disturbed=is_disturbed)
        assert choice_of(Rival("a", 0.5)).is_remembered
        age(home, 2 / 24)
        assert choice_of(Rival("a", 0.5)).is_remembered is not is_disturbed


def test_other_threads_are_another_machine() -> None:
    before = torch.get_num_threads()
    keys = {remembered.key_of("work"), remembered.key_of("other work")}
    torch.set_num_threads(before + 1)
    try:
        keys.add(remembered.key_of("work"))
    finally:
        torch.set_num_threads(before)
    assert len(keys) == 3


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", '{"KEY": 3}', '{"KEY": {"chosen": "a", "seconds": [], "trials": 1}}',
     '{"KEY": {"chosen": "a", "seconds": {"a": "x"}, "trials": 1, "found_at": 0}}',
     '{"KEY": {"chosen": "a", "seconds": {}, "trials": 1e999, "found_at": 1e999}}', "\udcff"],
)  # fmt: skip
def test_a_damaged_file_counts_as_none_and_is_written_anew(home: Path, content: str) -> None:
    key = remembered.key_of("work")
    home.parent.mkdir()
    home.write_bytes(content.replace("KEY", key).encode(errors="surrogateescape"))
    assert remembered.recall(key) is None
    remembered.note(key, "a", {"a": 1.0})
    assert remembered.recall(key) is not None


def test_a_home_that_cannot_be_written_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path / "file" / "home"))
    remembered.note(remembered.key_of("work"), "a", {"a": 1.0})
    assert remembered.recall(remembered.key_of("work")) is None


def test_it_can_be_switched_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered.note(remembered.key_of("work"), "a", {"a": 1.0})
    monkeypatch.setenv(switches.REMEMBER, "0")
    assert remembered.recall(remembered.key_of("work")) is None
    remembered.note(remembered.key_of("more"), "a", {"a": 1.0})
    assert len(json.loads(home.read_text())) == 1


def _note_some(start: int) -> None:
    for i in range(20):
        remembered.note(f"key {start + i}", "a", {"a": 1.0})


def test_processes_at_once_leave_a_whole_file(home: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_note_some, (0, 100)))
    assert 20 <= len(json.loads(home.read_text())) <= 40
    assert [path.name for path in home.parent.iterdir()] == [remembered.FILE]


def test_the_oldest_go_where_there_are_many(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 3)
    for i in range(5):
        remembered.note(str(i), "a", {"a": 1.0})
    assert sorted(json.loads(home.read_text())) == ["2", "3", "4"]


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffe.engine.backends.choice.facts_of", lambda operations: ["work"])


@pytest.mark.usefixtures("rivals")
def test_who_was_chosen_runs_from_the_second_run_on() -> None:
    first = choice_of(Rival("a", 0.8), Rival("b", 0.6))
    runs(first, PATIENCE + 2 * TRIAL)
    assert not first.is_remembered
    second = choice_of(Rival("a", 0.8), Rival("b", 0.6))
    # In the first it is compiled, and its values compared with PyTorch's.
    assert runs(second, 3) == ["compiling", "b", "b"]
    assert second.told == "600 ms instead of 1e+03 by PyTorch and 800 by a, remembered"
    other = choice_of(Rival("a", 0.8))
    assert run(other) == PYTORCH


@pytest.mark.usefixtures("rivals")
def test_a_gentler_way_is_remembered_as_such() -> None:
    first = choice_of(Rival("a", 0.1, Rival("gentle a", 0.3)))
    runs(first, PATIENCE)
    (made,) = first._made.values()
    first.check(made, {7: torch.full((3,), 1.002)}, {7: torch.ones(3)}, {})
    runs(first, TRIAL)
    second = choice_of(Rival("a", 0.1, Rival("gentle a", 0.3)))
    assert runs(second, 2) == ["compiling", "gentle a"]


@pytest.mark.usefixtures("rivals")
def test_pytorch_is_remembered_too() -> None:
    runs(choice_of(Rival("a", 2.0)), PATIENCE + TRIAL)
    choice = choice_of(Rival("a", 2.0))
    assert not choice.is_open
    assert choice.told == "1e+03 ms instead of 2e+03 by a, remembered"


@pytest.mark.usefixtures("rivals")
def test_what_these_weights_do_not_allow_is_forgotten() -> None:
    runs(choice_of(Rival("a", 0.5)), PATIENCE + TRIAL)
    choice = choice_of(Rival("a", -1))
    with pytest.warns(caffe.CaffeWarning, match="less quickly than it might"):
        run(choice)
    assert not choice.is_open
    assert not choice_of(Rival("a", 0.5)).is_remembered


@pytest.mark.usefixtures("always")
def test_winograds_algorithm_is_used_from_the_second_run_on() -> None:
    net = caffe.Net(NET, caffe.TEST)
    expected = net.forward(data=PICTURES[0])["pool"].copy()
    for _ in range(RUNS):
        net.forward(data=PICTURES[0])
    assert "remembered" not in net.explain()[1]
    again = caffe.Net(NET, caffe.TEST)
    again.share_with(net)
    np.testing.assert_array_equal(again.forward(data=PICTURES[0])["pool"], expected)
    assert "by Winograd's algorithm: " in again.explain()[1]
    assert again.explain()[1].endswith(", remembered")
    found = again.forward(data=PICTURES[0])["pool"]
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


PROGRAM = """
import caffe
from caffe.engine.backends.choice import LIBRARIES, PATIENCE, TRIAL
net = caffe.Net('''layer { name: "data" type: "Input" top: "data"
                          input_param { shape { dim: 1 dim: 16 dim: 40 dim: 40 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 32 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }''', caffe.TEST)
for _ in range(PATIENCE + len(LIBRARIES) * TRIAL):
    net.forward()
print(net.explain()[1])
"""


def test_a_second_process_knows_what_the_first_has_found_out(home: Path) -> None:
    if not any(library.is_installed() for library in LIBRARIES.values()):
        pytest.skip("none of the extras openvino, onnxruntime and mnn is installed")
    said = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert " ms instead of " in said[0]
    assert said[1] == said[0].removesuffix(")") + ", remembered)"
