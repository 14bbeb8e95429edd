"""Winograd's algorithm makes convolutions, and their gradients by the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from caffe import onednn
from caffe.compiled import cutting, llvm
from caffe.layers import winograd
from caffe.layers.winograd import POINTS, Winograd, matrices, saves
from caffe.layers.winograd_in_training import pays, weight_gradient
from tests.helpers import kernels


@pytest.mark.parametrize("r", [2, 3, 4, 5])
def test_the_matrices_make_a_convolution_exactly(r: int) -> None:
    for m in (count - r + 2 for count in POINTS if count > r - 2):
        a, g, b = (np.array(rows) for rows in matrices(m, r))
        weights, inputs = np.arange(1.0, r + 1), np.arange(2.0, m + r + 1) ** 2
        expected = np.correlate(inputs, weights, "valid")
        np.testing.assert_allclose(a @ ((g @ weights) * (b @ inputs)), expected, rtol=1e-11)


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize(("height", "most"), [(16, 9e-7), (9, 7e-7)])
def test_few_digits_are_lost(
    height: int, most: float, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_compiled:
        monkeypatch.setattr(llvm, "width", lambda: 0)
    if height == 9:
        monkeypatch.setattr(winograd, "TILES", winograd.SMALL_TILES)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 64, height, height, generator=generator).relu()
    weight = torch.randn(64, 64, 3, 3, generator=generator).double()
    found = Winograd(weight, None, tuple(x.shape), (1, 1), 1)(x)
    exact = F.conv2d(x.double(), weight, padding=1)
    assert float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt()) < most


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "pad", "group", "pictures"),
    [(16, 32, 3, (1, 1), 1, 1), (24, 16, 3, (0, 2), 2, 5), (16, 16, 5, (2, 2), 1, 3),
     (32, 48, 5, (1, 0), 2, 2)],
)  # fmt: skip
@pytest.mark.parametrize("piece", [winograd.PIECE, 2**16, 1])
@pytest.mark.parametrize("is_onednns", [True, False])
def test_pieces_of_tiles_make_the_convolution(
    monkeypatch: pytest.MonkeyPatch,
    is_onednns: bool,
    channels: int,
    outputs: int,
    size: int,
    pad: tuple[int, int],
    group: int,
    pictures: int,
    piece: int,
) -> None:
    monkeypatch.setattr(winograd, "PIECE", piece)
    if not is_onednns:
        monkeypatch.setattr(onednn, "multiplies_quicker", lambda: False)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(pictures, channels, 13, 22, generator=generator)
    weight = torch.randn(outputs, channels // group, size, size, generator=generator).double()
    bias = torch.randn(outputs, generator=generator).double()
    expected = F.conv2d(x.double(), weight, bias, 1, pad, 1, group).clamp(0, 6)
    rows = x.contiguous(memory_format=torch.channels_last)
    finish = lambda y: y.clamp_(0, 6)  # noqa: E731
    found = Winograd(weight, bias, tuple(x.shape), pad, group, finish, None)(rows)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 2e-5 * float(
        F.conv2d(x.double(), weight, bias, 1, pad, 1, group).abs().max()
    )


@pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")
@pytest.mark.parametrize("piece", [cutting.MOST_PIECE, 2**16, 1])
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "pad", "group", "pictures"),
    [(16, 32, 3, (1, 1), 1, 1), (24, 16, 3, (0, 2), 2, 5), (32, 48, 5, (1, 0), 2, 2)],
)
@pytest.mark.parametrize("slope", [1.0, 0.0, 0.1])
def test_kernels_make_the_same_convolution_as_operators(
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    outputs: int,
    size: int,
    pad: tuple[int, int],
    group: int,
    pictures: int,
    slope: float,
    piece: int,
) -> None:
    monkeypatch.setattr(cutting, "MOST_PIECE", piece)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(pictures, channels, 13, 22, generator=generator)
    weight = torch.randn(outputs, channels // group, size, size, generator=generator).double()
    bias = torch.randn(outputs, generator=generator).double()
    plain = F.conv2d(x.double(), weight, bias, 1, pad, 1, group)
    rows = x.contiguous(memory_format=torch.channels_last)
    made = Winograd(weight, bias, tuple(x.shape), pad, group, slope=slope)
    monkeypatch.setattr(made, "_by_operators", None)
    found = made(rows)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float((found - F.leaky_relu(plain, slope)).abs().max()) < 2e-5 * float(plain.abs().max())
    assert torch.equal(made(rows), found)


@pytest.mark.parametrize(
    ("kernel", "weight", "outputs", "group", "expected"),
    [
        ((3, 3), (64, 32, 3, 3), (13, 13), 1, True),
        ((5, 5), (256, 48, 5, 5), (27, 27), 2, True),
        ((1, 1), (64, 64, 1, 1), (13, 13), 1, False),
        ((7, 7), (64, 64, 7, 7), (28, 28), 1, False),
        ((3, 1), (64, 64, 3, 1), (28, 28), 1, False),
        ((3, 3), (64, 1, 3, 3), (28, 28), 64, False),
        ((3, 3), (64, 64, 3, 3), (1, 1), 1, False),
        ((3, 3), (64, 64, 3, 3), (2, 2), 1, False),
    ],
)
def test_it_is_tried_where_it_spares_products(
    kernel: tuple[int, int],
    weight: tuple[int, ...],
    outputs: tuple[int, int],
    group: int,
    expected: bool,
) -> None:
    assert saves(kernel, weight, outputs, group) is expected


@pytest.mark.parametrize("piece", [winograd.PIECE, 2**15, 1])
@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize(("size", "pad", "group"), [(3, (1, 0), 1), (5, (2, 3), 2)])
def test_pieces_of_tiles_make_the_gradient_by_the_weights(
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    pad: tuple[int, int],
    group: int,
    is_compiled: bool,
    piece: int,
) -> None:
    monkeypatch.setattr(winograd, "PIECE", piece)
    monkeypatch.setattr(cutting, "MOST_PIECE", piece)
    if not is_compiled:
        monkeypatch.setattr(llvm, "width", lambda: 0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 32, 13, 22, generator=generator)
    weight = torch.zeros(48, 32 // group, size, size, dtype=torch.float64, requires_grad=True)
    y = F.conv2d(x.double(), weight, None, 1, pad, 1, group)
    diff = torch.randn(y.shape, generator=generator)
    (expected,) = torch.autograd.grad(y, weight, diff.double())
    given = (t.contiguous(memory_format=torch.channels_last) for t in (diff, x))
    with kernels.made_anew():
        found = weight_gradient(*given, size, pad, group)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 2e-5 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("shape", "weight", "pad", "group", "slower", "expected"),
    [
        ((8, 256, 56, 56), (256, 256, 3, 3), (1, 1), 1, 1.0, True),
        ((64, 96, 27, 27), (256, 48, 5, 5), (2, 2), 2, 1.0, True),
        ((16, 64, 56, 56), (64, 64, 3, 3), (1, 1), 1, 1.0, False),
        ((16, 64, 56, 56), (64, 64, 3, 3), (1, 1), 1, 1.5, True),
        # The weights alone are more than what is spared.
        ((1, 512, 7, 7), (512, 512, 3, 3), (1, 1), 1, 1.5, False),
        ((1, 64, 2, 2), (64, 64, 3, 3), (0, 0), 1, 1.0, False),
    ],
)
def test_it_is_used_in_training_where_it_spares_much(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    pad: tuple[int, int],
    group: int,
    slower: float,
    expected: bool,
) -> None:
    monkeypatch.setattr(llvm, "width", lambda: 0)
    assert pays(shape, weight, pad, group, slower) is expected


@pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")
@pytest.mark.parametrize(
    ("shape", "weight", "expected"),
    [
        ((16, 64, 56, 56), (64, 64, 3, 3), True),
        # The convolutions 2 and 3 of CIFAR-10's quick net.
        ((100, 32, 16, 16), (32, 32, 5, 5), True),
        ((100, 32, 8, 8), (64, 32, 5, 5), True),
        ((10, 32, 8, 8), (64, 32, 5, 5), False),
        ((1, 512, 7, 7), (512, 512, 3, 3), False),
        # Channels that make no whole vectors, as of LeNet's convolution 2.
        ((16, 66, 56, 56), (64, 66, 3, 3), True),
        ((64, 20, 8, 8), (50, 20, 5, 5), True),
    ],
)
def test_kernels_make_it_worth_more(
    shape: tuple[int, ...], weight: tuple[int, ...], expected: bool
) -> None:
    pad = weight[2] // 2, weight[3] // 2
    assert pays(shape, weight, pad, 1) is expected
