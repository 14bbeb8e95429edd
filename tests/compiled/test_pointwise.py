"""What is done to numbers by themselves is what PyTorch does in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caffe.compiled import llvm
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.pointwise import How, Pointwise
from tests.helpers.kernels import FINISHES, OTHERS, Inside, finished, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

OPERATIONS = {"sum": torch.add, "product": torch.mul, "most": torch.maximum}


def expected(x: Tensor, how: How, affine: list[Tensor], other: Tensor) -> Tensor:
    """Numbers changed as is said."""
    found = x.double()
    if how.is_affine:
        factor, summand = affine
        found = found * factor.double() + summand.double()
    if how.other:
        found = OPERATIONS[how.other](found, other.double())
    return finished(found, how.finish)


@pytest.mark.parametrize("is_affine", [False, True])
@pytest.mark.parametrize("other", ["", *OPERATIONS])
@pytest.mark.parametrize("finish", [PLAIN, FINISHES[1], FINISHES[4]])
@pytest.mark.parametrize("shape", [(1, 4), (49, 24), (5, 100), (7, 21)])
@pytest.mark.usefixtures("threads")
def test_numbers_are_changed(
    is_affine: bool, other: str, finish: Finish, shape: tuple[int, int]
) -> None:
    how, (count, channels) = How(is_affine, other=other, finish=finish), shape
    x, beside = rows(count, channels, between=16), rows(count, channels, between=18)
    affine = [torch.randn(channels), torch.randn(channels)] if is_affine else []
    found = Inside(count, channels)
    pointwise = Pointwise(how, channels, *affine)
    pointwise.job(lying(x), found.rows, count, lying(beside) if other else None).run()
    found.assert_equal(expected(x, how, affine, beside))


def test_results_may_lie_where_the_numbers_did() -> None:
    found, beside = Inside(15, 12), rows(15, 12)
    found.place[...] = x = rows(15, 12)
    how = How(other="sum", finish=Finish(slope=0.0))
    pointwise = Pointwise(how, 12)
    pointwise.job(found.rows, found.rows, 15, lying(beside)).run()
    found.assert_equal(expected(x, how, [], beside))


def test_no_rows_are_none() -> None:
    found = Inside(2, 8)
    pointwise = Pointwise(How(), 8)
    pointwise.job(lying(rows(2, 8)), found.rows, 0).run()
    found.assert_equal(torch.full((2, 8), OTHERS))


def test_the_larger_one_of_two_is_the_second_where_either_is_no_number() -> None:
    x, other = torch.randn(1, 4), torch.randn(1, 4)
    x[0, 1] = other[0, 2] = torch.nan
    found = Inside(1, 4)
    pointwise = Pointwise(How(other="most"), 4)
    pointwise.job(lying(x), found.rows, 1, lying(other)).run()
    # As in Caffe, which asks whether the first one is larger.
    wanted = torch.where(x > other, x, other)
    assert torch.equal(found.place.isnan(), wanted.isnan())
    assert torch.equal(found.place.nan_to_num(), wanted.nan_to_num())


@pytest.mark.parametrize("channels", [5, 16])
@pytest.mark.usefixtures("threads")
def test_others_may_be_for_several_rows(channels: int) -> None:
    x, beside = rows(12, channels), rows(3, channels)
    found = Inside(12, channels)
    pointwise = Pointwise(How(other="product", is_shared=True), channels)
    pointwise.job(lying(x), found.rows, 12, lying(beside), each=4).run()
    found.assert_equal(x.double() * beside.double().repeat_interleave(4, 0))
