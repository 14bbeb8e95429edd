"""Maxima of windows, to the bit."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.max_pooling import MaxPooling, MaxPoolingGradient
from tests.helpers.kernels import Inside, beside_nothing, lying, pictures

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

LOWEST = torch.finfo(torch.float32).min


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "is_ceil"),
    [
        ((3, 3), (2, 2), (0, 0), True),
        ((3, 3), (1, 1), (1, 1), True),
        ((2, 2), (2, 2), (0, 0), False),
        ((2, 3), (3, 1), (1, 0), True),
        ((5, 4), (2, 3), (2, 2), False),
    ],
)
@pytest.mark.parametrize("channels", [4, 24, 50, 64])
def test_the_largest_of_each_window(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    is_ceil: bool,
    channels: int,
) -> None:
    x = torch.randn(2, channels, 11, 14).contiguous(memory_format=torch.channels_last)
    expected = torch.max_pool2d(x, kernel, stride, pad, 1, is_ceil)
    found = MaxPooling(kernel, stride, pad, channels)(x, *expected.shape[2:])
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_what_is_no_number_is_never_the_largest() -> None:
    x = torch.full((1, 8, 4, 4), torch.nan).contiguous(memory_format=torch.channels_last)
    x[:, :, 0, 0] = -5.0
    x[:, :, 2:, :2] = -torch.inf
    x[:, :, :2, 2:] = torch.inf
    found = MaxPooling((2, 2), (2, 2), (0, 0), 8)(x, 2, 2)
    expected = torch.tensor([[-5.0, torch.inf], [LOWEST, LOWEST]]).expand(1, 8, 2, 2)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("channels", [3, 58])
@pytest.mark.usefixtures("threads")
def test_channels_that_make_no_whole_vectors(channels: int) -> None:
    x = pictures(2, 5, 7, channels)
    expected = torch.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)
    found = Inside(*expected.shape)
    pooling = MaxPooling((3, 3), (2, 2), (1, 1), channels)
    pooling.job(lying(x), (5, 7), 2, found.rows, (expected.shape[1], expected.shape[2])).run()
    found.assert_equal(expected, tolerance=0)


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "is_ceil"),
    [
        ((3, 3), (2, 2), (0, 0), True),
        ((3, 3), (1, 1), (1, 1), True),
        ((2, 2), (2, 2), (0, 0), False),
        ((2, 3), (3, 1), (1, 0), True),
        ((5, 4), (2, 3), (2, 2), False),
    ],
)
@pytest.mark.parametrize("channels", [4, 7, 24, 50])
@pytest.mark.usefixtures("threads")
def test_gradients_go_to_the_first_of_the_largest(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    is_ceil: bool,
    channels: int,
) -> None:
    # Of so few values many are alike.
    x = torch.randint(5, (2, channels, 11, 14)).float()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    y = torch.max_pool2d(x, kernel, stride, pad, 1, is_ceil)
    diff = torch.randn(y.shape).contiguous(memory_format=torch.channels_last)
    (expected,) = torch.autograd.grad(y, x, diff)
    found = MaxPoolingGradient(kernel, stride, pad, channels)(diff, x.detach())
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("channels", [6, 50])
def test_nothing_beside_the_channels_is_read(channels: int, is_before: bool) -> None:
    x, diff = (beside_nothing(1, n, n, channels, is_before=is_before) for n in (6, 3))
    x, diff = x.permute(0, 3, 1, 2), diff.permute(0, 3, 1, 2)
    geometry = (2, 2), (2, 2), (0, 0), channels
    assert torch.equal(MaxPooling(*geometry)(x, 3, 3), torch.max_pool2d(x, 2))
    found = MaxPoolingGradient(*geometry)(diff, x)
    torch.testing.assert_close(found.sum((2, 3)), diff.sum((2, 3)))


def test_a_window_without_a_number_has_no_gradient() -> None:
    x = torch.full((1, 8, 4, 4), torch.nan).contiguous(memory_format=torch.channels_last)
    x[:, :, 0, 0] = -5.0
    x[:, :, 2:, :2] = -torch.inf
    x[:, :, 1, 2] = torch.inf
    diff = torch.ones(1, 8, 2, 2).contiguous(memory_format=torch.channels_last)
    found = MaxPoolingGradient((2, 2), (2, 2), (0, 0), 8)(diff, x)
    expected = torch.zeros(4, 4)
    expected[0, 0] = expected[1, 2] = 1
    assert torch.equal(found, expected.expand(1, 8, 4, 4))
