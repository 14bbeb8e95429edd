"""Whole convolutions by tiles, and both of their gradients, are autograd's in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from caffe.compiled import cutting, llvm
from caffe.compiled.blocks import Block
from caffe.compiled.cutting import Cut
from caffe.compiled.llvm import Program
from caffe.compiled.tiled_in_training import (
    ToOtherFormPacked,
    convolved,
    gradient,
    weight_gradient,
)
from caffe.layers.winograd import algorithm
from tests.helpers import kernels

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.fixture(autouse=True)
def nothing_from_before() -> Iterator[None]:
    with kernels.made_anew():
        yield


CASES = [(2, 16, 32, 13, 22, 3, (1, 1), 1, 4), (3, 24, 8, 9, 9, 5, (2, 0), 2, 3),
         (1, 20, 100, 8, 11, 3, (0, 2), 1, 5), (2, 96, 40, 5, 5, 3, (1, 1), 4, 2),
         (1, 16, 48, 9, 7, 5, (2, 2), 1, 2), (1, 64, 20, 7, 7, 3, (1, 1), 1, 3),
         (2, 20, 50, 12, 12, 5, (0, 0), 1, 4), (1, 42, 14, 6, 7, 3, (1, 1), 2, 4),
         (37, 8, 12, 8, 9, 3, (1, 1), 1, 4), (50, 16, 8, 6, 6, 5, (2, 1), 2, 4)]  # fmt: skip


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize(("outputs", "inputs"), [(32, 16), (33, 7), (5, 100)])
def test_weights_are_packed_in_the_other_form(outputs: int, inputs: int, is_turned: bool) -> None:
    weight = torch.randn(outputs, inputs, 3, 3)
    block = Block.best(100, inputs if is_turned else outputs, llvm.width())
    matrix = algorithm(4, 3).weights
    change = ToOtherFormPacked(block, tuple(weight.shape), matrix, is_turned)
    memory = torch.full((change.size,), float("nan"))
    Program(list(change.jobs(weight.data_ptr(), memory))).run()
    found = change.weights(memory)
    g = torch.tensor(matrix, dtype=torch.float64)
    kernels = weight.flip(2, 3).transpose(0, 1) if is_turned else weight
    changed = torch.einsum("pi,ocij,qj->pqoc", g, kernels.double(), g).flatten(0, 1)
    own = found.transpose(1, 2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(own[:, : len(kernels)].double(), changed, rtol=0, atol=1e-6)
    assert not own[:, len(kernels) :].any()


@pytest.mark.parametrize(
    ("piece", "lane"),
    [(cutting.MOST_PIECE, 0), (2**14, 0), (1, 0), (1, cutting.LANE), (1, 2**15)],
)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("threads")
def test_a_convolution_and_its_gradients(
    case: tuple[int, int, int, int, int, int, tuple[int, int], int, int],
    piece: int,
    lane: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutting, "MOST_PIECE", piece)
    monkeypatch.setattr(cutting, "LANE", lane)
    number, channels, outputs, height, width, size, pad, group, m = case
    last = torch.channels_last
    kept = []
    # What is made the first time runs again on other arrays, with a bias and without.
    for has_bias in (True, False, True):
        x = torch.randn(number, channels, height, width).contiguous(memory_format=last)
        weight, bias = torch.randn(outputs, channels // group, size, size), torch.randn(outputs)
        own = bias if has_bias else None
        kept += [x, weight, bias]
        exact = [t.double().requires_grad_() for t in (x, weight)]
        y = F.conv2d(*exact, None if own is None else own.double(), 1, pad, 1, group)
        diff = torch.randn(y.shape).contiguous(memory_format=last)
        expected = y.detach(), *torch.autograd.grad(y, exact, diff.double())

        _, _, *results = y.shape
        there = Cut(number, (height, width), (results[0], results[1]), pad, m)
        back = (size - 1 - pad[0], size - 1 - pad[1])
        here = Cut(number, (results[0], results[1]), (height, width), back, m)
        back_through = gradient(algorithm(m, size), there, diff, weight, group)
        most = float(expected[1].abs().max())
        torch.testing.assert_close(back_through.double(), expected[1], rtol=0, atol=2e-5 * most)
        found = (
            convolved(algorithm(m, size), there, x, weight, own, group),
            convolved(algorithm(m, size), here, diff, weight, None, group, is_turned=True),
            weight_gradient(algorithm(size, m), there, diff, x, group),
        )
        for values, wanted in zip(found, expected, strict=True):
            assert values.shape == wanted.shape
            most = float(wanted.abs().max())
            torch.testing.assert_close(values.double(), wanted, rtol=0, atol=2e-5 * most)


SQUARE = Cut(3, (9, 9), (9, 9), (1, 1), 4)
"""Of a convolution that makes as many channels as it reads."""


def test_what_was_made_of_one_array_alone_runs_on_two() -> None:
    x, diff = (
        torch.randn(3, 16, 9, 9).contiguous(memory_format=torch.channels_last) for _ in range(2)
    )
    for gradients in (x, diff):
        weight = torch.zeros(16, 16, 3, 3, dtype=torch.float64, requires_grad=True)
        y = F.conv2d(x.double(), weight, None, 1, 1)
        (expected,) = torch.autograd.grad(y, weight, gradients.double())
        found = weight_gradient(algorithm(3, 4), SQUARE, gradients, x, 1)
        most = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5 * most)


def assert_it_is_the_convolution() -> None:
    x = torch.randn(3, 16, 9, 9, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(16, 16, 3, 3, dtype=torch.float32)
    bias = torch.randn(16, dtype=torch.float32, requires_grad=True)
    found = convolved(algorithm(4, 3), SQUARE, x, weight, bias, 1)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), 1, 1)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)


def test_what_was_made_in_inference_runs_in_any_mode() -> None:
    for mode in (torch.inference_mode(), torch.no_grad(), torch.enable_grad()):
        with mode:
            assert_it_is_the_convolution()


def test_numbers_are_float32_whatever_pytorch_makes() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert_it_is_the_convolution()
    finally:
        torch.set_default_dtype(torch.float32)
