"""Normalisation by a batch's statistics: exact, whatever the order in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caffe.layers.batch_statistics import PIECE, normalized

EPS = 1e-5


def inputs(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    # More than one piece, and a mean far from zero.
    x = torch.randn(9, 6, 80, 70, generator=generator) * 2 + 5
    assert x.numel() > PIECE
    scale, bias = torch.randn(6, generator=generator), torch.randn(6, generator=generator)
    diff = torch.randn(x.shape, generator=generator)
    return x.to(dtype), scale.to(dtype), bias.to(dtype), diff.to(dtype)


def by_formula(x: Tensor, scale: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    across = (-1, 1, 1)
    unit = (x - mean.view(across)) * (variance.view(across) + EPS).rsqrt()
    return unit * scale.view(across) + bias.view(across), mean, x.var((0, 2, 3))


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_values_and_gradients_are_those_of_the_formula(order: torch.memory_format) -> None:
    exact = [t.requires_grad_() for t in inputs(torch.float64)[:3]]
    *short, diff = inputs(torch.float32)
    wanted = by_formula(*exact)
    leaves = [t.contiguous(memory_format=order) if t.dim() == 4 else t for t in short]
    leaves = [t.requires_grad_() for t in leaves]
    found = normalized(*leaves, EPS)
    for value, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=2e-6)
    gradients = torch.autograd.grad(found[0], leaves, diff)
    expected_ones = torch.autograd.grad(wanted[0], exact, diff.double())
    for gradient, expected in zip(gradients, expected_ones, strict=True):
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=2e-4)


def test_neither_scale_nor_bias_is_needed() -> None:
    x, *_ = inputs(torch.float32)
    rows = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(normalized(rows, None, None, EPS), normalized(x, None, None, EPS))
