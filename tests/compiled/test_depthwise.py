"""Convolutions of each channel by itself are PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from caffe.compiled import llvm
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.convolving import Windows
from caffe.compiled.depthwise import Depthwise, takes
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


def assert_convolved(x: Tensor, kind: Kind, finish: Finish, together: int = 1) -> None:
    """Convolve pictures that lie channels last both ways, so many channels together."""
    number, height, width, channels = x.shape
    kernel, *how = kind
    weights, bias = torch.randn(channels, together, *kernel), torch.randn(channels)
    planes = x.double().permute(0, 3, 1, 2)
    sums = conv2d(planes, weights.double(), bias.double(), *how, channels // together).permute(
        0, 2, 3, 1
    )
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("together", "channels"), [(2, 12), (4, 32), (8, 40), (16, 64)])
@pytest.mark.usefixtures("threads")
def test_some_channels_together(kind: Kind, together: int, channels: int) -> None:
    if takes(channels, channels, together):
        assert_convolved(pictures(2, 5, 9, channels), kind, FINISHES[1], together)


def test_groups_lie_in_one_vector() -> None:
    assert takes(64, 64, 8)
    assert not takes(64, 128, 8)
    assert not takes(60, 60, 6)
    assert not takes(66, 66, 2)
    assert not takes(128, 128, 32)
