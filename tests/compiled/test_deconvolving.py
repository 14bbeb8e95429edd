"""Deconvolutions of each channel by itself are PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv_transpose2d

from caffe.compiled import llvm
from caffe.compiled.convolving import Windows
from caffe.compiled.deconvolving import DepthwiseDeconvolution
from tests.helpers.kernels import Inside, beside_nothing, lying, pictures

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

# Kernel, stride and padding.
KINDS = [
    ((1, 1), (1, 1), (0, 0)),
    ((4, 4), (2, 2), (1, 1)),
    ((3, 3), (2, 2), (0, 0)),
    ((2, 5), (3, 1), (0, 3)),
    ((3, 2), (1, 4), (2, 0)),
    ((6, 6), (3, 3), (2, 1)),
    ((16, 16), (8, 8), (4, 4)),
]
Kind = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def assert_deconvolved(x: Tensor, kind: Kind) -> None:
    """Enlarge pictures that lie channels last both ways."""
    number, height, width, channels = x.shape
    kernel, stride, pad = kind
    weights, bias = torch.randn(channels, 1, *kernel), torch.randn(channels)
    planes = (x.double().permute(0, 3, 1, 2), weights.double(), bias.double())
    expected = conv_transpose2d(*planes, stride, pad, groups=channels).permute(0, 2, 3, 1)
    found = Inside(*expected.shape)
    windows = Windows(kernel, stride, pad, (1, 1), (expected.shape[1], expected.shape[2]))
    deconvolution = DepthwiseDeconvolution(weights, bias, windows)
    deconvolution.job(lying(x), (height, width), number, found.rows).run()
    found.assert_equal(expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 21, 32])
@pytest.mark.parametrize("size", [(5, 7), (4, 3)])
@pytest.mark.usefixtures("threads")
def test_each_channel_by_itself(kind: Kind, channels: int, size: tuple[int, int]) -> None:
    assert_deconvolved(pictures(2, *size, channels), kind)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[3], KINDS[6]])
@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_pictures_is_read(kind: Kind, is_before: bool) -> None:
    assert_deconvolved(beside_nothing(2, 4, 5, 8, is_before=is_before), kind)
