"""Convolutions' gradients are PyTorch's own, whichever way they are found."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from caffe.layers.convolution_gradients import Convolved

CASES = {
    "product": (32, 8, 1, 2, 0, 1, 1),
    "padded product": (32, 8, 1, 1, 1, 1, 1),
    "planes": (64, 8, 3, 2, 1, 2, 1),
    "planes in groups": (128, 8, 3, 1, 1, 1, 2),
    "few channels": (3, 8, 5, 1, 2, 1, 1),
    "each channel by itself": (8, 8, 3, 1, 1, 1, 8),
    "one channel": (1, 8, 3, 1, 1, 1, 1),
}


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_autograd(case: str, is_last: bool) -> None:
    channels, outputs, kernel, stride, pad, dilation, group = CASES[case]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, channels, 9, 11, generator=generator, requires_grad=True)
    weight = torch.randn(
        outputs, channels // group, kernel, kernel, generator=generator, requires_grad=True
    )
    bias = torch.zeros(outputs, requires_grad=True)
    y = F.conv2d(x, weight, bias, stride, pad, dilation, group)
    diff = torch.randn(y.shape, generator=generator)
    expected = torch.autograd.grad(y, (x, weight, bias), diff)

    order = torch.channels_last if is_last else torch.contiguous_format
    windows = ((stride, stride), (pad, pad), (dilation, dilation))
    convolved = Convolved(*windows, group, transposed=False)
    given = (t.detach().contiguous(memory_format=order) for t in (diff, x))
    found = convolved.gradients(*given, weight.detach(), True, [True, True, True])
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-4)


def test_only_what_is_needed_is_found() -> None:
    convolved = Convolved((1, 1), (0, 0), (1, 1), 1, transposed=False)
    x = torch.zeros(1, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    diff = torch.zeros(1, 2, 5, 5).contiguous(memory_format=torch.channels_last)
    of_x, of_weight, of_bias = convolved.gradients(
        diff, x, torch.zeros(2, 4, 1, 1), False, [False, True, False]
    )
    assert of_x is None
    assert of_weight is not None
    assert of_bias is None
