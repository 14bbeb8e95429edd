"""Rows times large weights as they lie are PyTorch's product in float64."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.llvm import Program
from caffe.compiled.turned import Turned
from tests.helpers.kernels import FINISHES, Inside, beside_nothing, finished, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.mark.parametrize("count", [1, 3, 7, 8, 13, 16, 30, 50, 64])
@pytest.mark.parametrize("outputs", [1, 7, 40])
@pytest.mark.parametrize("inputs", [16, 48, 320])
@pytest.mark.usefixtures("threads")
def test_rows_times_weights(count: int, outputs: int, inputs: int) -> None:
    x, weights = rows(count, inputs, between=3), torch.randn(outputs, inputs)
    bias = torch.randn(outputs)
    assert Turned.takes(count, inputs)
    found = Inside(count, outputs)
    turned = Turned(weights, bias, PLAIN, count)
    Program(turned.jobs(lying(x), found.rows)).run()
    # A single one may be small beside what it is summed up from.
    found.assert_equal(x.double() @ weights.double().t() + bias.double(), tolerance=1e-5)


@pytest.mark.parametrize("finish", FINISHES)
def test_sums_are_finished(finish: Finish) -> None:
    x, weights, bias = rows(6, 32), torch.randn(20, 32), torch.randn(20)
    found = Inside(6, 20)
    turned = Turned(weights, bias, finish, 6)
    Program(turned.jobs(lying(x), found.rows)).run()
    sums = x.double() @ weights.double().t() + bias.double()
    found.assert_equal(finished(sums, finish), tolerance=1e-5)


def test_weights_are_read_as_they_lie() -> None:
    x, weights = rows(5, 16), torch.randn(8, 16)
    found = Inside(5, 8)
    turned = Turned(weights, torch.zeros(8), PLAIN, 5)
    program = Program(turned.jobs(lying(x), found.rows))
    # No copy was made: they are large.
    weights *= 2
    program.run()
    found.assert_equal(x.double() @ weights.double().t())


@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_rows_and_weights_is_read(is_before: bool) -> None:
    x, weights = (beside_nothing(n, 32, is_before=is_before) for n in (9, 21))
    found = Inside(9, 21)
    turned = Turned(weights, torch.zeros(21), PLAIN, 9)
    Program(turned.jobs(lying(x), found.rows)).run()
    found.assert_equal(x.double() @ weights.double().t())


def test_rows_that_are_mostly_none_are_not_taken() -> None:
    width = llvm.width()
    assert not Turned.takes(width + 1, 16)
    assert not Turned.takes(width, width + 1)
