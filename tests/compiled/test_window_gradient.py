"""Gradients by the weights and bias of convolutions of few channels are float64's."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.rows import Pictures, Rows
from caffe.compiled.window_gradient import WindowGradient
from tests.helpers.kernels import beside_nothing

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


def found(
    x: torch.Tensor, diff: torch.Tensor, kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients for pictures, (number, height, width, channels)."""
    _, height, width, channels = x.shape
    outputs = diff.shape[1]
    pictures = Pictures.of(Rows(x.data_ptr(), channels), (height, width))
    sums = WindowGradient(kernel[0], kernel[1] * channels, outputs)
    of_weight, of_bias = sums(diff, pictures, stride)
    return of_weight.view(*kernel, channels, outputs).permute(3, 2, 0, 1), of_bias


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "stride"),
    [(1, 20, (5, 5), (1, 1)), (3, 32, (5, 5), (1, 1)), (2, 7, (3, 4), (2, 3)),
     (4, 50, (1, 2), (1, 2)), (1, 4, (1, 1), (1, 1)), (3, 64, (2, 3), (3, 1))],
)  # fmt: skip
@pytest.mark.usefixtures("threads")
def test_sums_over_all_windows(
    channels: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    x = torch.randn(3, 12, 15, channels)
    weight = torch.zeros(outputs, channels, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(outputs, dtype=torch.float64, requires_grad=True)
    y = torch.conv2d(x.double().permute(0, 3, 1, 2), weight, bias, stride)
    diff = torch.randn(y.shape).contiguous(memory_format=torch.channels_last)
    expected = torch.autograd.grad(y, (weight, bias), diff.double())
    for sums, wanted in zip(found(x, diff, kernel, stride), expected, strict=True):
        assert sums.shape == wanted.shape
        most = float(wanted.abs().max())
        torch.testing.assert_close(sums.double(), wanted, rtol=0, atol=1e-6 * most)


@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_pictures_and_results_is_read(is_before: bool) -> None:
    x = beside_nothing(2, 7, 8, 3, is_before=is_before)
    diff = beside_nothing(2, 3, 4, 20, is_before=is_before).permute(0, 3, 1, 2)
    _, of_bias = found(x, diff, (3, 2), (2, 2))
    torch.testing.assert_close(of_bias, diff.sum((0, 2, 3)))
