"""Who runs a plan's operations is found out by turns, and by a margin."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

import caffe
from caffe.engine.backends.choice import (
    LIBRARIES,
    PATIENCE,
    TRIAL,
    WORTH,
    Choice,
    is_worth_trying,
    stretches,
)  # fmt: skip
from caffe.engine.backends.contest import FEWEST, HOPELESS, LAST_ROUND, MOST_ROUNDS, ROUNDS, TURN
from caffe.engine.plan.operation import Operation, Part
from caffe.engine.plan.settings import Settings
from tests.helpers.plans import choices_of

AUTO = Settings(torch.float32, None, "auto", torch.channels_last)


class Known:
    """An operation of which nothing is asked but this."""

    label = "layer"
    is_held = is_trying = False
    parts: Sequence[Part] = ()

    def __init__(self, takers: str = "") -> None:
        self.takers = takers


class Made:
    """What a backend has made: what it gives can be set."""

    def __init__(self, outputs: Iterable[int]) -> None:
        self.outputs = list(outputs)
        self.inputs: dict[int, torch.Tensor] = {}

    def take(self, values: Mapping[int, torch.Tensor]) -> bool:
        return True

    def run(self) -> dict[int, torch.Tensor]:
        return {}


class Rival:
    """A backend that takes a given time and the operations that name it."""

    needs_torch = False
    tolerance = 1e-3

    def __init__(
        self, name: str, seconds: float = 1.0, gentler: Rival | None = None, hope: float = 0.0
    ) -> None:
        self.name, self.seconds, self.gentler, self.hope = name, seconds, gentler, hope

    def at_best(self, by_torch: float, operations: int) -> float:
        return self.hope * by_torch

    def refusal(self, operation: Operation) -> str | None:
        return None if self.name in operation.takers else "no"  # type: ignore[attr-defined]

    def compile(
        self,
        operations: Sequence[Operation],
        inputs: Mapping[int, torch.Tensor],
        outputs: Iterable[int],
    ) -> Made:
        if self.seconds < 0:
            raise RuntimeError("it cannot")
        return Made(outputs)


def choice_of(*rivals: Rival, settings: Settings = AUTO) -> Choice:
    return Choice([Known()], rivals, settings)  # type: ignore[list-item]


def run(choice: Choice, seconds: float = 1.0, is_disturbed: bool = False) -> str:
    """One run as a plan has it; returns who ran it."""
    if choice.is_due({7}):
        choice.compile({7}, {})
        return "compiling"
    ran = choice.ready
    if ran is None:
        choice.judge(None, seconds, is_disturbed)
        return "PyTorch"
    (rival,) = (one for one, made in choice._made.items() if made is ran)
    choice.judge(ran, rival.seconds, is_disturbed)  # type: ignore[attr-defined]
    return rival.name


def runs(choice: Choice, count: int, seconds: float = 1.0, is_disturbed: bool = False) -> list[str]:
    return [run(choice, seconds, is_disturbed) for _ in range(count)]


def test_they_take_turns_and_the_second_run_of_each_counts() -> None:
    rival = Rival("a", 0.09)
    choice = choice_of(rival)
    assert runs(choice, PATIENCE - 1, 0.1) == ["PyTorch"] * (PATIENCE - 1)
    ran = runs(choice, TRIAL, 0.1)
    usual = ["compiling", *(["a"] * TURN + ["PyTorch"] * TURN) * ROUNDS]
    assert ran == usual + ["a"] * (TRIAL - len(usual))
    assert choice.is_settled
    assert choice.chosen is rival
    assert choice.told == "90 ms instead of 100 by PyTorch"
    assert run(choice) == "a"


def test_a_single_slow_run_makes_nothing_plain() -> None:
    rival = Rival("a", 0.9)
    choice = choice_of(rival)
    runs(choice, PATIENCE)
    run(choice)
    rival.seconds = 1.9
    run(choice)
    rival.seconds = 0.9
    runs(choice, TRIAL)
    assert choice.chosen is rival


def test_a_first_run_or_a_single_slow_one_decides_nothing() -> None:
    rival = Rival("a", 0.09)
    choice = choice_of(rival)
    runs(choice, PATIENCE, 0.1)
    for turn in range(ROUNDS):
        run(choice)
        rival.seconds = 0.12 if turn == 1 else 0.09
        run(choice)
        run(choice, 0.07)
        run(choice, 0.1)
    assert choice.chosen is rival


@pytest.mark.parametrize(
    ("milliseconds", "rivals", "turns"),
    [
        (1, 0.95, 2 * MOST_ROUNDS),
        (1, 1.05, 2 * MOST_ROUNDS),
        (1, 0.8, 2 * MOST_ROUNDS),
        (50, 0.8, 2 * ROUNDS),
        (50, 0.95, 4 * ROUNDS),
        (1, 0.6, 2 * ROUNDS),
        (1, 1.6, 2 * ROUNDS),
        # The rival's alone, since PyTorch's times are known.
        (50, 1.2, ROUNDS),
        (100, 0.8, ROUNDS),
        (300, 1.2, 2),
        (300, 0.95, 2 * ROUNDS),
        (900, 0.8, 1),
        (900, 0.95, 2 * FEWEST),
    ],
)
def test_quick_ones_and_those_that_are_close_go_on(
    milliseconds: float, rivals: float, turns: int
) -> None:
    choice = choice_of(Rival("a", milliseconds * rivals / 1000))
    count = 0
    while not choice.is_settled:
        run(choice, milliseconds / 1000)
        count += 1
    assert count == PATIENCE + TURN * turns
    assert (choice.chosen is not None) is (rivals < 1)


@pytest.mark.parametrize("seconds", [WORTH + 0.01, 1.0, HOPELESS - 0.01])
def test_pytorch_stays_where_a_rival_is_not_quicker_by_the_margin(seconds: float) -> None:
    choice = choice_of(Rival("a", seconds))
    runs(choice, PATIENCE - 1 + TRIAL)
    assert not choice.is_open
    assert choice.compiled is None
    assert choice._made == {}


@pytest.mark.parametrize(("seconds", "winner"), [(2.0, None), (0.5, "a")])
def test_what_is_plain_is_known_after_a_turn_of_the_rival(
    seconds: float, winner: str | None
) -> None:
    choice = choice_of(Rival("a", seconds))
    runs(choice, PATIENCE + TURN)
    assert choice.is_settled
    assert (choice.chosen and choice.chosen.name) == winner


@pytest.mark.parametrize(
    ("seconds", "winner"),
    [
        ((0.9, 0.8), "b"),
        ((0.9, 0.89), "b"),
        ((0.8, 0.9), "a"),
        ((1.1, 0.9), "b"),
        ((1.1, 1.2), None),
        ((-1, 0.9), "b"),
    ],
)
@pytest.mark.filterwarnings("ignore:the net runs less quickly:caffe.CaffeWarning")
def test_of_several_the_quickest_is_chosen(
    seconds: tuple[float, float], winner: str | None
) -> None:
    choice = choice_of(*map(Rival, "ab", seconds))
    runs(choice, PATIENCE + 2 * TRIAL)
    assert choice.is_settled
    assert (choice.chosen and choice.chosen.name) == winner
    assert list(choice._made) == ([choice.chosen] if winner else [])


@pytest.mark.parametrize("milliseconds", [7, 300])
def test_runs_in_which_others_want_the_cpus_count_only_where_there_are_no_better(
    milliseconds: float,
) -> None:
    rival = Rival("a", 2 * milliseconds / 1000)
    choice = choice_of(rival)
    runs(choice, PATIENCE, milliseconds / 1000)
    # Whose threads turn while they wait is hurt the most by what runs for a moment.
    runs(choice, 2 * TURN, milliseconds / 1000, is_disturbed=True)
    assert not choice.is_settled
    rival.seconds = 0.8 * milliseconds / 1000
    runs(choice, TRIAL, milliseconds / 1000)
    assert choice.chosen is rival
    assert choice.told.startswith(f"{0.8 * milliseconds:.3g} ms instead")


@pytest.mark.parametrize(("milliseconds", "rounds"), [(1, LAST_ROUND), (300, 5)])
def test_on_a_busy_machine_a_trial_ends_all_the_same(milliseconds: float, rounds: int) -> None:
    choice = choice_of(Rival("a", 0.5 * milliseconds / 1000))
    count = 0
    while not choice.is_settled:
        run(choice, milliseconds / 1000, is_disturbed=True)
        count += 1
    assert count == PATIENCE + 2 * TURN * rounds
    assert choice.chosen is not None


def test_the_least_time_of_all_contests_is_told() -> None:
    first = Rival("a", 0.8)
    choice = choice_of(first, Rival("b", 3.0))
    while choice.chosen is None:
        run(choice)
    # Beside the second one others are in the way.
    first.seconds = 2.5
    runs(choice, TRIAL, is_disturbed=True)
    assert choice.is_settled
    assert choice.told == "800 ms instead of 1e+03 by PyTorch and 3e+03 by b"


def test_no_more_rivals_are_tried_once_it_has_taken_long() -> None:
    rivals = [Rival(name, 1.0) for name in "abcde"]
    choice = choice_of(*rivals)
    ran = runs(choice, PATIENCE + 5 * TRIAL)
    tried = {name for name in ran if len(name) == 1}
    assert choice.is_settled
    assert tried == set("ab")
    quick = choice_of(*(Rival(name, 0.01) for name in "abcde"))
    assert set(runs(quick, PATIENCE + 5 * TRIAL, 0.01)) >= set("abcde")


@pytest.mark.parametrize(("hope", "is_tried"), [(0.7, False), (0.3, True)])
def test_what_cannot_win_at_its_best_is_not_tried(hope: float, is_tried: bool) -> None:
    choice = choice_of(Rival("a", 0.5), Rival("b", 0.4, hope=hope))
    ran = runs(choice, PATIENCE + 2 * TRIAL)
    assert choice.is_settled
    assert ("b" in ran) is is_tried
    # What others were in the way of tells nothing of what may be hoped for.
    busy = choice_of(Rival("a", 0.5), Rival("b", 0.4, hope=hope))
    assert "b" in runs(busy, PATIENCE + 2 * TRIAL, is_disturbed=True)
    # PyTorch may be what it is compared with, and that it may always beat.
    only = choice_of(Rival("a", 2.0), Rival("b", 0.4, hope=1.0))
    assert "b" in runs(only, PATIENCE + 2 * TRIAL)


def test_memory_goes_back_to_the_system_once_a_loser_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    are_gone: list[bool] = []
    choice = choice_of(Rival("a", 0.5), Rival("b", 5.0))
    runs(choice, PATIENCE + 2 * TURN)
    (_, last) = map(weakref.ref, choice._made.values())

    def give_back() -> None:
        are_gone.append(last() is None)

    monkeypatch.setattr("caffe.engine.backends.choice.give_back_freed_memory", give_back)
    runs(choice, 2 * TURN)
    assert choice.is_settled
    assert are_gone == [True]


def test_a_changed_parameter_begins_the_trial_anew_and_ends_no_choice() -> None:
    choice = choice_of(Rival("a", 0.9))
    operation = choice._operations[0]
    runs(choice, PATIENCE + 3)
    choice.parameter_changes(operation)
    assert runs(choice, PATIENCE - 1) == ["PyTorch"] * (PATIENCE - 1)
    runs(choice, TRIAL)
    assert choice.chosen is not None
    choice.parameter_changes(operation)
    assert runs(choice, PATIENCE + 1) == ["PyTorch"] * (PATIENCE - 1) + ["compiling", "a"]
    assert choice.told


@pytest.mark.parametrize(("value", "is_told"), [(1.002, False), (1.02, True), (np.nan, True)])
def test_what_gives_wrong_values_is_given_up(value: float, is_told: bool) -> None:
    choice = choice_of(Rival("a", 0.1), Rival("b", 0.2))
    runs(choice, PATIENCE)
    (made,) = choice._made.values()
    expected = {7: torch.ones(3)}
    choice.check(made, {7: torch.full((3,), 1.0005)}, expected, {})
    assert choice.compiled is made
    told = pytest.warns(caffe.CaffeWarning, match="a computes otherwise than PyTorch")
    # What only rounds off too much is nobody's business.
    with told if is_told else nullcontext():
        choice.check(made, {7: torch.full((3,), value)}, expected, {})
    runs(choice, TRIAL)
    assert choice.chosen is not None
    assert choice.chosen.name == "b"


@pytest.mark.parametrize(("value", "is_used"), [(1.4, True), (1.5, False), (np.nan, False)])
@pytest.mark.filterwarnings("ignore:a computes otherwise:caffe.CaffeWarning")
def test_short_numbers_may_be_as_far_from_float32_as_pytorchs_are(
    value: float, is_used: bool
) -> None:
    settings = replace(AUTO, precision=torch.bfloat16)
    choice = choice_of(Rival("a", 0.1), settings=settings)
    runs(choice, PATIENCE)
    (made,) = choice._made.values()
    found, expected, exact = ({7: torch.full((3,), x)} for x in (value, 0.7, 1.0))
    choice.check(made, found, expected, exact)
    assert bool(choice._made) == is_used


@pytest.mark.parametrize(("value", "winner"), [(1.002, "gentle a"), (1.02, "b")])
@pytest.mark.filterwarnings("ignore:a computes otherwise:caffe.CaffeWarning")
def test_what_only_rounds_off_too_much_is_tried_in_a_gentler_way(value: float, winner: str) -> None:
    choice = choice_of(Rival("a", 0.1, Rival("gentle a", 0.3)), Rival("b", 0.5))
    runs(choice, PATIENCE)
    (made,) = choice._made.values()
    choice.check(made, {7: torch.full((3,), value)}, {7: torch.ones(3)}, {})
    assert run(choice) == "compiling"
    runs(choice, 2 * TRIAL)
    assert choice.chosen is not None
    assert choice.chosen.name == winner


def test_operations_are_parted_by_who_takes_them() -> None:
    def parted(*takers: str) -> list[tuple[int, str]]:
        backends = [Rival("a"), Rival("b")]
        found = stretches([Known(one) for one in takers], backends)  # type: ignore[arg-type,misc]
        return [(end, "".join(one.name for one in taking)) for end, taking in found]

    # Of those who take as many the first one parts them, and else who takes the most.
    alike = parted("ab", "ab", "a", "", "b", "ab")
    assert alike == [(3, "a"), (4, ""), (5, "b"), (6, "ab")]
    more = parted("ab", "ab", "a", "", "b", "b", "ab")
    assert more == [(2, "ab"), (3, "a"), (4, ""), (7, "b")]
    assert stretches([Known(), Known()], []) == [(2, [])]  # type: ignore[list-item]


def test_each_backend_is_asked_once_of_each_operation() -> None:
    asked: list[tuple[str, object]] = []

    class Asked(Rival):
        def refusal(self, operation: Operation) -> str | None:
            asked.append((self.name, operation))
            return super().refusal(operation)

    operations = [Known(takers) for takers in ("ab", "a", "", "b", "ab")]
    assert stretches(operations, [Asked("a"), Asked("b")])  # type: ignore[arg-type,list-item]
    assert len(asked) == len(set(asked)) == 10


SMALL = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: [1, 8, 20, 20] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE global_pooling: true } }
"""


def test_nothing_is_tried_where_it_cannot_matter() -> None:
    net = caffe.Net(SMALL, caffe.TEST)
    pictures = np.random.default_rng(0).normal(size=(1, 8, 20, 20))
    first = net.forward(data=pictures)["pool"].copy()
    for _ in range(PATIENCE + 1):
        np.testing.assert_array_equal(net.forward(data=pictures)["pool"], first)
    assert not choices_of(net)
    names = " and ".join(one.name for one in LIBRARIES.values() if one.is_installed())
    if names:
        assert net.explain()[1] == f"convolution; {names} not tried for so little work"
    # Three times as wide and high it is worth a trial.
    net.blobs["data"].reshape(1, 8, 60, 60)
    net.forward()
    assert len(choices_of(net)) == bool(names)


def test_what_is_asked_for_by_name_is_used_for_the_smallest_net() -> None:
    asked = replace(AUTO, engine="openvino")
    assert is_worth_trying([], asked)
    assert not is_worth_trying([], AUTO)
