"""Few rows times weights as they lie are PyTorch's product in float64."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.dots import Dots
from tests.helpers.kernels import FINISHES, Inside, finished, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.mark.parametrize("count", [1, 2, 13])
@pytest.mark.parametrize("outputs", [4, 12, 100])
@pytest.mark.parametrize("inputs", [4, 8, 16, 36, 320])
@pytest.mark.usefixtures("threads")
def test_rows_times_weights(count: int, outputs: int, inputs: int) -> None:
    x, weights, bias = (
        rows(count, inputs, between=3),
        torch.randn(outputs, inputs),
        rows(outputs, 1),
    )
    found = Inside(count, outputs)
    dots = Dots(weights, bias[:, 0], PLAIN)
    dots.job(lying(x), found.rows, count).run()
    found.assert_equal(x.double() @ weights.double().t() + bias[:, 0].double())


@pytest.mark.parametrize("finish", FINISHES)
def test_sums_are_finished(finish: Finish) -> None:
    x, weights, bias = rows(2, 8), torch.randn(20, 8), torch.randn(20)
    found = Inside(2, 20)
    dots = Dots(weights, bias, finish)
    dots.job(lying(x), found.rows, 2).run()
    sums = x.double() @ weights.double().t() + bias.double()
    found.assert_equal(finished(sums, finish), tolerance=1e-5)


def test_weights_are_read_as_they_lie() -> None:
    x, weights = rows(1, 16), torch.randn(8, 16)
    found = Inside(1, 8)
    dots = Dots(weights, torch.zeros(8), PLAIN)
    job = dots.job(lying(x), found.rows, 1)
    # No copy was made: they may be large.
    weights *= 2
    job.run()
    found.assert_equal(x.double() @ weights.double().t())
