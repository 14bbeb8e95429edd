"""Rows are brought to one length."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.lengths import ToLength
from tests.helpers.kernels import Inside, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.mark.parametrize("channels", [1, 15, 16, 100])
@pytest.mark.usefixtures("threads")
def test_rows_of_one_length(channels: int) -> None:
    x, factors, found = rows(7, channels), torch.randn(channels), Inside(7, channels)
    to_length = ToLength(0.5, factors)
    to_length.job(lying(x), found.rows, 7).run()
    length = (x.double().square().sum(1, keepdim=True) + 0.5).sqrt()
    found.assert_equal(x.double() / length * factors.double())


def test_rows_of_zeros_stay_so() -> None:
    found = Inside(2, 5)
    to_length, x = ToLength(1e-10, torch.ones(5)), torch.zeros(2, 80)[:, :5]
    to_length.job(lying(x), found.rows, 2).run()
    found.assert_equal(torch.zeros(2, 5))
