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
    ],
)
def test_what_makes_no_rate_is_refused(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        rate(text)
