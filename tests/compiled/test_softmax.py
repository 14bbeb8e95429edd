"""The softmax of rows is PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.softmax import softmax
from tests.helpers.kernels import OTHERS, READ_BEHIND, Inside, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.mark.parametrize("count", [1, 13, 49])
@pytest.mark.parametrize("channels", [1, 15, 16, 100])
@pytest.mark.usefixtures("threads")
def test_the_softmax_of_rows(count: int, channels: int) -> None:
    x = 10 * rows(count, channels, between=16)
    found = Inside(count, channels)
    softmax(lying(x), found.rows, count, channels).run()
    found.assert_equal(x.double().softmax(-1))


def test_the_softmax_may_lie_where_the_rows_did() -> None:
    found = Inside(5, 10)
    found.place[...] = x = rows(5, 10)
    softmax(found.rows, found.rows, 5, 10).run()
    found.assert_equal(x.double().softmax(-1))


def test_the_softmax_of_huge_numbers_and_of_none() -> None:
    x = rows(3, 3)
    x[...] = torch.tensor([[3e38, -3e38, 3e38], [0.0, -torch.inf, -200.0], [torch.nan, 1.0, 2.0]])
    found = Inside(3, 3)
    softmax(lying(x), found.rows, 3, 3).run()
    assert found.place[2].isnan().all()
    found.place[2] = 0.0
    found.assert_equal(torch.tensor([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("count", [1, 13, 16, 49])
@pytest.mark.parametrize("channels", [1, 2, 4, 8])
@pytest.mark.usefixtures("threads")
def test_rows_of_which_several_make_a_vector(count: int, channels: int) -> None:
    x = 10 * torch.randn(count * channels + READ_BEHIND)[: count * channels].view(count, channels)
    whole = torch.full((count * channels + READ_BEHIND,), OTHERS)
    found = whole[: count * channels].view(count, channels)
    softmax(lying(x), lying(found), count, channels).run()
    torch.testing.assert_close(found.double(), x.double().softmax(-1), rtol=0, atol=1e-6)
    assert bool((whole[count * channels :] == OTHERS).all())


def test_one_of_several_rows_that_is_no_number() -> None:
    x = torch.zeros(16, 2)
    x[5, 1] = torch.nan
    found = torch.empty(16, 2)
    softmax(lying(x), lying(found), 16, 2).run()
    assert found.isnan().any(1).nonzero().tolist() == [[5]]
    assert found[5].isnan().all()
