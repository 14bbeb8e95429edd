"""Normalisation across channels, by its formula."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.normalizing import Normalizing

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.mark.parametrize("channels", [4, 16, 24, 192])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("pixels", [1, 7, 300])
def test_the_formula(channels: int, size: int, pixels: int) -> None:
    x = 3 * torch.randn(pixels, channels)
    found = torch.full((pixels + 1, channels), 7.0)
    Normalizing(size, 0.3, 1.5, channels)(x, found[:pixels])
    squares = torch.nn.functional.pad(x.double() ** 2, (size // 2, size // 2)).unfold(1, size, 1)
    expected = x / (1.5 + 0.3 / size * squares.sum(-1)) ** 0.75
    torch.testing.assert_close(found[:pixels].double(), expected, rtol=1e-6, atol=1e-9)
    assert bool((found[pixels:] == 7).all())


def test_huge_numbers_become_nothing_and_odd_ones_stay_odd() -> None:
    x = torch.zeros(1, 16)
    x[0, 3], x[0, 12] = 3e38, torch.nan
    found = torch.empty(1, 16)
    Normalizing(3, 1.0, 1.0, 16)(x, found)
    assert found[0, 3] == 0
    assert found.isnan().nonzero()[:, 1].tolist() == [11, 12, 13]
