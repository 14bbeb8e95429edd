"""Pictures of another size have what lies between their pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from caffe.compiled import llvm
from caffe.compiled.interpolating import Between, Interpolating
from tests.helpers.kernels import Inside, beside_nothing, lying, pictures

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


def corner_on_corner(old: int, new: int) -> Between:
    """Results of which the first and the last are pixels."""
    points = np.arange(new) * ((old - 1) / max(1, new - 1))
    first = np.minimum(np.floor(points).astype(int), old - 1)
    return Between(first, np.minimum(first + 1, old - 1), points - first)


@pytest.mark.parametrize("channels", [3, 16, 21])
@pytest.mark.parametrize("size", [(1, 1), (3, 20), (10, 4), (5, 7)])
@pytest.mark.usefixtures("threads")
def test_between_four_pixels(channels: int, size: tuple[int, int]) -> None:
    x, found = pictures(2, 5, 7, channels), Inside(2, *size, channels)
    down, across = corner_on_corner(5, size[0]), corner_on_corner(7, size[1])
    interpolating = Interpolating(down, across, channels)
    interpolating.job(lying(x), (5, 7), 2, found.rows).run()
    planes = x.double().permute(0, 3, 1, 2)
    expected = interpolate(planes, size, mode="bilinear", align_corners=True)
    found.assert_equal(expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_pictures_is_read(is_before: bool) -> None:
    x, found = beside_nothing(2, 4, 5, 8, is_before=is_before), Inside(2, 4, 5, 8)
    down, across = corner_on_corner(4, 4), corner_on_corner(5, 5)
    interpolating = Interpolating(down, across, 8)
    interpolating.job(lying(x), (4, 5), 2, found.rows).run()
    found.assert_equal(x, tolerance=0)


def test_the_places_may_be_any() -> None:
    x, found = pictures(1, 2, 3, 4), Inside(1, 2, 3, 4)
    down, across = (Between(np.arange(n)[::-1], np.arange(n)[::-1], np.zeros(n)) for n in (2, 3))
    interpolating = Interpolating(down, across, 4)
    interpolating.job(lying(x), (2, 3), 1, found.rows).run()
    found.assert_equal(torch.flip(x, (1, 2)), tolerance=0)
