"""Pictures in the other order have the same numbers, and the softmax is PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import laying, llvm
from tests.helpers.kernels import OTHERS, Inside, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

SHAPES = [(1, 1, 1), (1, 1, 5), (3, 1, 4), (2, 35, 1), (2, 35, 3), (3, 14, 33)]
"""How many pictures, pixels of one, and channels."""


@pytest.mark.parametrize(("number", "pixels", "channels"), SHAPES)
@pytest.mark.usefixtures("threads")
def test_planes_become_rows(number: int, pixels: int, channels: int) -> None:
    planes = torch.randn(number, channels, pixels)
    found = Inside(number * pixels, channels)
    laying.to_rows(planes.data_ptr(), found.rows, number, pixels, channels).run()
    found.assert_equal(planes.transpose(1, 2).reshape(-1, channels), tolerance=0)


@pytest.mark.parametrize(("number", "pixels", "channels"), SHAPES)
@pytest.mark.usefixtures("threads")
def test_rows_become_planes(number: int, pixels: int, channels: int) -> None:
    x = rows(number * pixels, channels, between=2)
    found = torch.full((number + 2, channels, pixels), OTHERS)
    planes = found[1:-1]
    laying.to_planes(lying(x), planes.data_ptr(), number, pixels, channels).run()
    assert torch.equal(planes, x.reshape(number, pixels, channels).transpose(1, 2))
    assert bool((found[[0, -1]] == OTHERS).all())


@pytest.mark.parametrize("count", [1, 13, 49])
@pytest.mark.parametrize("channels", [1, 15, 16, 100])
@pytest.mark.usefixtures("threads")
def test_the_softmax_of_rows(count: int, channels: int) -> None:
    x = 10 * rows(count, channels, between=2)
    found = Inside(count, channels)
    laying.softmax(lying(x), found.rows, count, channels).run()
    found.assert_equal(x.double().softmax(-1))


def test_the_softmax_may_lie_where_the_rows_did() -> None:
    found = Inside(5, 10)
    found.place[...] = x = rows(5, 10)
    laying.softmax(found.rows, found.rows, 5, 10).run()
    found.assert_equal(x.double().softmax(-1))


def test_the_softmax_of_huge_numbers_and_of_none() -> None:
    x = torch.tensor([[3e38, -3e38, 3e38], [0.0, -torch.inf, -200.0], [torch.nan, 1.0, 2.0]])
    found = Inside(3, 3)
    laying.softmax(lying(x), found.rows, 3, 3).run()
    assert found.place[2].isnan().all()
    found.place[2] = 0.0
    found.assert_equal(torch.tensor([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
