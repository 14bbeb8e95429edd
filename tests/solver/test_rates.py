"""Learning rates, by their formulas."""

from __future__ import annotations

import math

import pytest

from caffe.errors import NetError
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.text import parse_text
from caffe.solver.rates import Rate


def rate(text: str) -> Rate:
    return Rate(parse_text(text, SolverParameter()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('lr_policy: "fixed"', lambda i: 1),
        ('lr_policy: "step" stepsize: 10 gamma: 0.5', lambda i: 0.5 ** (i // 10)),
        ('lr_policy: "exp" gamma: 0.9', lambda i: 0.9**i),
        ('lr_policy: "inv" gamma: 0.1 power: 0.75', lambda i: (1 + 0.1 * i) ** -0.75),
        (
            'lr_policy: "multistep" stepvalue: 5 stepvalue: 12 gamma: 0.1',
            lambda i: 0.1 ** ((i >= 5) + (i >= 12)),
        ),
        ('lr_policy: "poly" power: 2 max_iter: 40', lambda i: (1 - i / 40) ** 2),
        (
            'lr_policy: "sigmoid" gamma: -0.3 stepsize: 15',
            lambda i: 1 / (1 + math.exp(0.3 * (i - 15))),
        ),
        (
            'lr_policy: "multifixed" stagelr: 0.02 stagelr: 0.01 stageiter: 5 stageiter: 12',
            lambda i: 1 if i <= 5 else 0.5,
        ),
        (
            'lr_policy: "cosine" max_iter: 20 min_lr: 0.002',
            lambda i: 0.1 + 0.45 * (1 + math.cos(math.pi * min(i / 20, 1))),
        ),
        (
            'lr_policy: "sgdr" stepsize: 10',
            lambda i: (1 + math.cos(math.pi * (i % 10) / 10)) / 2,
        ),
        (
            'lr_policy: "sgdr" stepsize: 4 mult_factor: 2 min_lr: 0.01',
            # Periods of 4, 8 and 16 begin at 0, 4, 12, and the fourth at 28.
            lambda i: (
                0.5
                + 0.25
                * (
                    1
                    + math.cos(
                        math.pi * (i - (b := max(x for x in (0, 4, 12, 28) if x <= i))) / (b + 4)
                    )
                )
            ),
        ),
        (
            'lr_policy: "poly" power: 2 max_iter: 40 min_lr: 0.004',
            lambda i: 0.2 + 0.8 * (1 - i / 40) ** 2,
        ),
        # The least rate bounds every policy, and the rise.
        ('lr_policy: "exp" gamma: 0.9 min_lr: 0.01', lambda i: max(0.9**i, 0.5)),
        (
            'lr_policy: "step" stepsize: 10 gamma: 0.5 rampup_interval: 5 rampup_lr: 0.01',
            lambda i: 0.5 + 0.5 * (i / 5) ** 2 if i < 5 else 0.5 ** (i // 10),
        ),
        (
            'lr_policy: "fixed" warmup_iter: 8 warmup_start_lr: 0.004',
            lambda i: min(1, 0.2 + 0.8 * i / 8),
        ),
    ],
)
def test_policies(text: str, expected: object) -> None:
    assert callable(expected)
    found = rate(f"base_lr: 0.02 {text}")
    assert [found.at(i) for i in range(40)] == pytest.approx(
        [0.02 * expected(i) for i in range(40)], rel=1e-5
    )


def test_multistep_falls_once_a_step() -> None:
    found = rate('base_lr: 1 lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 2')
    assert [found.at(i) for i in (5, 6, 7)] == pytest.approx([0.1, 0.01, 0.01])
    assert found.current_step == 2


def test_a_plateau_is_when_the_loss_finds_no_new_minimum() -> None:
    found = rate('base_lr: 1 lr_policy: "plateau" gamma: 0.1 plateau_winsize: 3 plateau_winsize: 2')
    losses = [5, 4, 4, 4, 4, 3, 3, 3, 3, 3]
    # The minimum of step 1 lasts until 4, that of step 5 until 7; then there is nothing to fall.
    expected = [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    assert [found.at(i, loss) for i, loss in enumerate(losses)] == pytest.approx(expected)
    assert (found.plateau.minimum_loss, found.plateau.iter_last_event) == (3, 7)


def test_momentum_follows_the_rate_while_it_rises() -> None:
    found = rate('base_lr: 1 lr_policy: "fixed" warmup_iter: 4 warmup_start_lr: 0.2')
    assert [found.momentum_factor(i) for i in range(6)] == pytest.approx(
        [1, 0.4 / 0.2, 0.6 / 0.4, 0.8 / 0.6, 1, 1]
    )
    # Nothing times infinity is avoided where the rise begins at 0.
    found = rate('base_lr: 1 lr_policy: "fixed" warmup_iter: 4')
    assert [found.momentum_factor(i) for i in range(2)] == [1, 1]


def test_a_rate_does_not_pass_the_end_of_poly() -> None:
    assert rate('base_lr: 1 lr_policy: "poly" power: 0.5 max_iter: 10').at(12) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown lr_policy ''"),
        ('lr_policy: "setp"', "did you mean 'step'"),
        ('base_lr: -1 lr_policy: "fixed"', "base_lr must not be negative"),
        ('lr_policy: "step" gamma: 0.1', "needs a stepsize"),
        ('lr_policy: "poly" power: 1', "needs max_iter"),
        ('lr_policy: "multistep" stepvalue: 5 stepvalue: 2', "needs stepvalue in order"),
        ('lr_policy: "exp" gamma: -2', "gamma must not be negative"),
        ('lr_policy: "fixed" warmup_start_lr: -1', "warmup_start_lr must not be negative"),
        ('lr_policy: "cosine"', "needs max_iter"),
        ('lr_policy: "fixed" momentum_policy: "rise"', "must be fixed, poly, opt, not 'rise'"),
        ('lr_policy: "fixed" weight_decay_policy: "poly"', "needs max_iter"),
        ('lr_policy: "sgdr"', "needs a stepsize"),
        ('lr_policy: "sgdr" stepsize: 3 mult_factor: 0', "mult_factor must be at least 1"),
        ('base_lr: 0.1 min_lr: 1 lr_policy: "cosine" max_iter: 9', "must not be above base_lr"),
        ('lr_policy: "plateau" gamma: 0.1', "needs plateau_winsize"),
        ('lr_policy: "multifixed" stagelr: 1 stageiter: 2 stageiter: 3', "as many stagelr"),
    ],
)
def test_what_makes_no_rate_is_refused(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        rate(text)
