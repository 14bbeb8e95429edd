"""Means of windows are PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from caffe.compiled import llvm
from caffe.compiled.average_pooling import AveragePooling
from caffe.compiled.convolving import Windows
from tests.helpers.kernels import Inside, beside_nothing, lying, pictures

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

# Kernel, stride, padding, and whether a last window may reach beyond the picture.
KINDS = [
    ((1, 1), (1, 1), (0, 0), False),
    ((3, 3), (2, 2), (0, 0), True),
    ((3, 3), (1, 1), (1, 1), False),
    ((2, 3), (3, 1), (1, 0), True),
    ((5, 4), (2, 3), (2, 2), False),
    ((5, 7), (1, 1), (0, 0), False),
]
Kind = tuple[tuple[int, int], tuple[int, int], tuple[int, int], bool]


def assert_pooled(x: Tensor, kind: Kind, counts_padding: bool) -> None:
    """Pool pictures that lie channels last both ways."""
    number, height, width, channels = x.shape
    kernel, stride, pad, _ = kind

    def pooled(planes: Tensor, divisor: int | None = None) -> Tensor:
        return avg_pool2d(planes.double(), *kind, counts_padding, divisor)

    expected = pooled(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    ones = torch.ones(1, 1, height, width)
    shares = (pooled(ones) / pooled(ones, 1))[0, 0]
    results = expected.shape[1], expected.shape[2]
    found = Inside(*expected.shape)
    pooling = AveragePooling(Windows(kernel, stride, pad, (1, 1), results), shares, channels)
    pooling.job(lying(x), (height, width), number, found.rows).run()
    found.assert_equal(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 4, 24, 58, 64])
@pytest.mark.parametrize("counts_padding", [False, True])
@pytest.mark.usefixtures("threads")
def test_means_of_windows(kind: Kind, channels: int, counts_padding: bool) -> None:
    assert_pooled(pictures(2, 5, 7, channels), kind, counts_padding)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
@pytest.mark.usefixtures("threads")
def test_pictures_of_one_pixel(kind: Kind) -> None:
    assert_pooled(pictures(3, 1, 1, 12), kind, False)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[4]])
@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_pictures_is_read(kind: Kind, is_before: bool) -> None:
    assert_pooled(beside_nothing(2, 4, 5, 8, is_before=is_before), kind, False)
