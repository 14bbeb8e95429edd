"""Convolutions are PyTorch's in float64, channels last and of planes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from caffe.compiled import blocks, llvm
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.convolving import Convolving, Windows
from caffe.compiled.memory import LargePages
from caffe.compiled.rows import Pictures
from tests.helpers.kernels import (
    FINISHES,
    Inside,
    beside_nothing,
    finished,
    lying,
    pictures,
    threads,
)

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

# Kernel, stride, padding and dilation.
KINDS = [
    ((1, 1), (1, 1), (0, 0), (1, 1)),
    ((1, 1), (2, 3), (0, 0), (1, 1)),
    ((3, 3), (1, 1), (1, 1), (1, 1)),
    ((3, 3), (2, 2), (2, 2), (1, 1)),
    ((2, 5), (3, 1), (1, 4), (1, 1)),
    ((3, 2), (1, 2), (3, 2), (2, 3)),
    # Whole windows, and whole lines of them, lie outside.
    ((2, 2), (1, 1), (4, 4), (1, 1)),
]
Kind = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]


def expected(x: Tensor, weights: Tensor, bias: Tensor, kind: Kind) -> Tensor:
    """Results of pixels that lie channels last, channels last too."""
    _, stride, padding, dilation = kind
    planes = x.double().permute(0, 3, 1, 2)
    found = conv2d(planes, weights.double(), bias.double(), stride, padding, dilation)
    return found.permute(0, 2, 3, 1)


def windows_of(kind: Kind, results: Tensor) -> Windows:
    """Windows for results that lie channels last."""
    return Windows(*kind, (results.shape[1], results.shape[2]))


def parameters(outputs: int, inputs: int, kind: Kind) -> tuple[Tensor, Tensor]:
    """Random weights and biases."""
    return torch.randn(outputs, inputs, *kind[0]), torch.randn(outputs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [1, 3, 17])
@pytest.mark.usefixtures("threads")
def test_pictures_that_lie_channels_last(kind: Kind, inputs: int) -> None:
    x = pictures(2, 5, 7, inputs)
    for outputs in (1, 15, 16, 31, 33, 100):
        weights, bias = parameters(outputs, inputs, kind)
        wanted = expected(x, weights, bias, kind)
        found = Inside(*wanted.shape)
        convolving = Convolving(weights, bias, windows_of(kind, wanted), PLAIN, 2)
        convolving.job(Pictures.of(lying(x), (5, 7)), found.rows).run()
        found.assert_equal(wanted)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[3][1] == 1])
@pytest.mark.parametrize("outputs", [1, 16, 33])
@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("further", [0, 2])
@pytest.mark.usefixtures("threads")
def test_pictures_that_lie_as_planes_with_zeros_around(
    kind: Kind, outputs: int, inputs: int, further: int
) -> None:
    x, (weights, bias) = torch.randn(2, 5, 7, inputs), parameters(outputs, inputs, kind)
    wanted = expected(x, weights, bias, kind)
    # There may be more zeros than these windows want.
    down, across = (n + further for n in kind[2])
    planes = pad(x.permute(0, 3, 1, 2), (across, across, down, down)).contiguous()
    height, width = planes.shape[2:]
    first = planes[0, 0, further:, further:].data_ptr()
    whole = Pictures(first, (height, width), 1, width, inputs * height * width)
    unpadded = replace(windows_of(kind, wanted), pad=(0, 0))
    found = Inside(*wanted.shape)
    convolving = Convolving(weights, bias, unpadded, PLAIN, 2, height * width)
    convolving.job(whole, found.rows).run()
    found.assert_equal(wanted)


@pytest.mark.parametrize("finish", [FINISHES[1], FINISHES[4]])
@pytest.mark.parametrize("is_added", [False, True])
def test_sums_are_finished(finish: Finish, is_added: bool) -> None:
    finish, kind = replace(finish, has_added=is_added), KINDS[2]
    x, (weights, bias) = pictures(1, 3, 5, 4), parameters(33, 4, kind)
    sums = expected(x, weights, bias, kind)
    added = pictures(1, 3, 5, 33) if is_added else None
    found = Inside(*sums.shape)
    convolving = Convolving(weights, bias, windows_of(kind, sums), finish, 1)
    others = None if added is None else lying(added)
    convolving.job(Pictures.of(lying(x), (3, 5)), found.rows, others).run()
    found.assert_equal(finished(sums, finish, added), tolerance=1e-5)


@pytest.mark.parametrize("number", [1, 13, 15])
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2], KINDS[4]])
@pytest.mark.usefixtures("threads")
def test_pictures_of_one_pixel(number: int, kind: Kind) -> None:
    x, (weights, bias) = pictures(number, 1, 1, 3), parameters(33, 3, kind)
    wanted = expected(x, weights, bias, kind)
    found = Inside(*wanted.shape)
    convolving = Convolving(weights, bias, windows_of(kind, wanted), PLAIN, number)
    convolving.job(Pictures.of(lying(x), (1, 1)), found.rows).run()
    found.assert_equal(wanted)


def test_a_part_of_larger_pictures() -> None:
    kind = KINDS[3]
    whole, (weights, bias) = pictures(3, 9, 11, 6), parameters(20, 4, kind)
    x = whole[:, 2:7, 3:10, 1:5]
    wanted = expected(x, weights, bias, kind)
    found = Inside(*wanted.shape)
    picture, line, step, _ = x.stride()
    convolving = Convolving(weights, bias, windows_of(kind, wanted), PLAIN, 3)
    convolving.job(Pictures(x.data_ptr(), (5, 7), step, line, picture), found.rows).run()
    found.assert_equal(wanted)


@pytest.mark.parametrize("made_for", [1, 4, 6])
@pytest.mark.parametrize("then", [1, 2, 5])
@pytest.mark.parametrize("cached", [1, 5000])
@pytest.mark.parametrize("outputs", [100, 33])
def test_blocks_are_shared_whatever_the_cache_and_the_threads(
    made_for: int, then: int, cached: int, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CACHED", cached)
    kind = KINDS[2]
    x, (weights, bias) = pictures(2, 9, 8, 3), parameters(outputs, 3, kind)
    wanted = expected(x, weights, bias, kind)
    found = Inside(*wanted.shape)
    with threads(made_for):
        convolving = Convolving(weights, bias, windows_of(kind, wanted), PLAIN, 2)
        job = convolving.job(Pictures.of(lying(x), (9, 8)), found.rows)
    with threads(then):
        job.run()
    found.assert_equal(wanted)


def test_weights_are_copied_into_the_memory_that_is_given() -> None:
    kind = KINDS[2]
    x, (weights, bias) = pictures(1, 4, 4, 3), parameters(20, 3, kind)
    wanted = expected(x, weights, bias, kind)
    found = Inside(*wanted.shape)
    windows = windows_of(kind, wanted)
    convolving = Convolving(weights, bias, windows, PLAIN, 1, memory=LargePages())
    weights.zero_()
    convolving.job(Pictures.of(lying(x), (4, 4)), found.rows).run()
    found.assert_equal(wanted)


@pytest.mark.parametrize("kind", [KINDS[2], KINDS[5], KINDS[6]])
@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_pictures_is_read(kind: Kind, is_before: bool) -> None:
    x = beside_nothing(2, 4, 5, 3, is_before=is_before)
    weights, bias = parameters(33, 3, kind)
    wanted = expected(x, weights, bias, kind)
    found = Inside(*wanted.shape)
    convolving = Convolving(weights, bias, windows_of(kind, wanted), PLAIN, 2)
    convolving.job(Pictures.of(lying(x), (4, 5)), found.rows).run()
    found.assert_equal(wanted)
