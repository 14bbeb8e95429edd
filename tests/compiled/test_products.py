"""Products of matrices are PyTorch's in float64, and nothing beside them is written."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caffe.compiled import blocks, llvm
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.memory import LargePages
from caffe.compiled.products import Products
from tests.helpers.kernels import (
    FINISHES,
    READ_BEHIND,
    Inside,
    beside_nothing,
    finished,
    lying,
    rows,
    threads,
)

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


def expected(x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Matrices of rows times weights, plus biases."""
    return x.double() @ weights.double().transpose(-1, -2) + bias.double()[:, None]


@pytest.mark.parametrize("count", [1, 13, 14, 15, 49])
@pytest.mark.parametrize("inputs", [1, 3, 17])
@pytest.mark.usefixtures("threads")
def test_rows_times_weights(count: int, inputs: int) -> None:
    x = rows(1, count, inputs)
    for outputs in (1, 15, 16, 31, 33, 100):
        weights, bias = torch.randn(1, outputs, inputs), rows(1, outputs)
        found = Inside(count, outputs)
        products = Products(weights, bias, PLAIN, count)
        products.job(lying(x), found.rows).run()
        found.assert_equal(expected(x, weights, bias)[0])


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("is_added", [False, True])
@pytest.mark.usefixtures("threads")
def test_sums_are_finished(finish: Finish, is_added: bool) -> None:
    finish = Finish(finish.slope, finish.least, finish.most, is_added)
    x, weights, bias = rows(1, 15, 3), torch.randn(1, 33, 3), torch.randn(1, 33)
    added = rows(15, 33) if is_added else None
    found = Inside(15, 33)
    products = Products(weights, bias, finish, 15)
    products.job(lying(x), found.rows, added=None if added is None else lying(added)).run()
    found.assert_equal(finished(expected(x, weights, bias)[0], finish, added))


@pytest.mark.parametrize("count", [1, 15, 49])
@pytest.mark.parametrize("outputs", [16, 33])
@pytest.mark.usefixtures("threads")
def test_matrices_with_weights_of_their_own(count: int, outputs: int) -> None:
    x, weights, bias = rows(5, count, 17), torch.randn(5, outputs, 17), torch.randn(5, outputs)
    found = Inside(count, outputs, matrices=5)
    products = Products(weights, bias, PLAIN, count)
    products.job(lying(x), found.rows).run()
    found.assert_equal(expected(x, weights, bias))


@pytest.mark.parametrize("count", [0, 1, 14, 20])
def test_fewer_rows_than_there_may_be(count: int) -> None:
    x, weights, bias = rows(2, 29, 3), torch.randn(2, 40, 3), torch.randn(2, 40)
    found = Inside(29, 40, matrices=2)
    products = Products(weights, bias, PLAIN, 29)
    products.job(lying(x), found.rows, count).run()
    wanted = torch.full((2, 29, 40), 7.0, dtype=torch.float64)
    wanted[:, :count] = expected(x, weights, bias)[:, :count]
    found.assert_equal(wanted)


@pytest.mark.parametrize("made_for", [1, 4, 6])
@pytest.mark.parametrize("then", [1, 2, 5])
@pytest.mark.parametrize("cached", [1, 2000])
@pytest.mark.parametrize("shape", [(3, 150), (100, 33)])
def test_blocks_are_shared_whatever_the_cache_and_the_threads(
    made_for: int,
    then: int,
    cached: int,
    shape: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "CACHED", cached)
    count, outputs = shape
    x, weights, bias = rows(2, count, 9), torch.randn(2, outputs, 9), torch.randn(2, outputs)
    found = Inside(count, outputs, matrices=2)
    with threads(made_for):
        products = Products(weights, bias, PLAIN, count)
        job = products.job(lying(x), found.rows)
    with threads(then):
        job.run()
    found.assert_equal(expected(x, weights, bias))


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("count", [1, 15])
def test_nothing_beside_the_rows_is_read(count: int, is_before: bool) -> None:
    x = beside_nothing(1, count, 3, is_before=is_before)
    weights, bias = torch.randn(1, 33, 3), torch.randn(1, 33)
    found = Inside(count, 33)
    products = Products(weights, bias, PLAIN, count)
    products.job(lying(x), found.rows).run()
    found.assert_equal(expected(x, weights, bias)[0])


@pytest.mark.parametrize("count", [1, 15])
def test_not_much_behind_what_is_added_is_read(count: int) -> None:
    numbers = beside_nothing(count * 40 + READ_BEHIND, is_before=False)
    added = numbers[: count * 40].view(count, 40)
    x, weights, bias = rows(1, count, 3), torch.randn(1, 40, 3), torch.randn(1, 40)
    found = Inside(count, 40)
    products = Products(weights, bias, Finish(has_added=True), count)
    products.job(lying(x), found.rows, added=lying(added)).run()
    found.assert_equal(expected(x, weights, bias)[0] + added.double())


def test_weights_are_copied_into_the_memory_that_is_given() -> None:
    memory = LargePages()
    x, weights, bias = rows(1, 14, 8), torch.randn(1, 20, 8), torch.randn(1, 20)
    found = Inside(14, 20)
    products = Products(weights, bias, PLAIN, 14, memory)
    wanted = expected(x, weights, bias)[0]
    weights.zero_()
    bias.zero_()
    products.job(lying(x), found.rows).run()
    found.assert_equal(wanted)


def test_what_is_no_number_stays_in_its_row_and_column() -> None:
    x, weights, bias = rows(1, 15, 8), torch.randn(1, 33, 8), torch.randn(1, 33)
    x[0, 13, 2], weights[0, 31, 5] = torch.nan, torch.inf
    found = Inside(15, 33)
    products = Products(weights, bias, Finish(slope=0.0), 15)
    products.job(lying(x), found.rows).run()
    torch.testing.assert_close(
        found.place.double(),
        expected(x, weights, bias)[0].relu(),
        rtol=1e-5,
        atol=1e-5,
        equal_nan=True,
    )
