"""Convolutions of each channel by itself are PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from caffe.compiled import llvm
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.convolving import Windows
from caffe.compiled.depthwise import Depthwise
from tests.helpers.kernels import FINISHES, Inside, beside_nothing, finished, lying, pictures

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

# Kernel, stride, padding and dilation.
KINDS = [
    ((1, 1), (1, 1), (0, 0), (1, 1)),
    ((3, 3), (1, 1), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (2, 2), (1, 1)),
    ((2, 5), (3, 1), (1, 4), (1, 1)),
    ((3, 2), (1, 2), (3, 2), (2, 3)),
    ((2, 2), (1, 1), (4, 4), (1, 1)),
    ((7, 7), (4, 4), (3, 3), (1, 1)),
]
Kind = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]


def assert_convolved(x: Tensor, kind: Kind, finish: Finish) -> None:
    """Convolve pictures that lie channels last both ways."""
    number, height, width, channels = x.shape
    kernel, *how = kind
    weights, bias = torch.randn(channels, 1, *kernel), torch.randn(channels)
    planes = x.double().permute(0, 3, 1, 2)
    sums = conv2d(planes, weights.double(), bias.double(), *how, channels).permute(0, 2, 3, 1)
    found = Inside(*sums.shape)
    windows = Windows(*kind, (sums.shape[1], sums.shape[2]))
    depthwise = Depthwise(weights, bias, windows, finish)
    depthwise.job(lying(x), (height, width), number, found.rows).run()
    found.assert_equal(finished(sums, finish))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 4, 24, 58, 64])
@pytest.mark.parametrize("size", [(5, 7), (4, 18)])
@pytest.mark.usefixtures("threads")
def test_each_channel_by_itself(kind: Kind, channels: int, size: tuple[int, int]) -> None:
    assert_convolved(pictures(2, *size, channels), kind, PLAIN)


@pytest.mark.parametrize("width", range(1, 10))
def test_any_number_of_results_beside_each_other(width: int) -> None:
    assert_convolved(pictures(1, 3, width, 8), KINDS[1], PLAIN)


@pytest.mark.parametrize("finish", FINISHES)
def test_sums_are_finished(finish: Finish) -> None:
    assert_convolved(pictures(1, 3, 5, 8), KINDS[1], finish)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[1], KINDS[5]])
@pytest.mark.usefixtures("threads")
def test_pictures_of_one_pixel(kind: Kind) -> None:
    assert_convolved(pictures(3, 1, 1, 12), kind, PLAIN)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[4], KINDS[5]])
@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_pictures_is_read(kind: Kind, is_before: bool) -> None:
    assert_convolved(beside_nothing(2, 4, 5, 8, is_before=is_before), kind, PLAIN)
