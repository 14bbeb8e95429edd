"""Pictures in the other order have the same numbers."""

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
