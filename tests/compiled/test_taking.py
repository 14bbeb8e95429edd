"""Numbers are taken to where they belong, and whoever is not finite is found."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from caffe.compiled import llvm
from caffe.compiled.taking import Taking
from tests.helpers import kernels
from tests.helpers.kernels import OTHERS, beside_nothing

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

SHAPES = [
    (1,),
    (3, 2),
    (1, 1000),
    (5, 67),
    (2, 3, 1, 1),
    (2, 3, 5, 7),
    (1, 3, 224, 224),
    (3, 16, 2, 33),
]


def taken(taking: Taking, numbers: Tensor) -> bool:
    taking.give(numbers)
    taking.job.run()
    return taking.end()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("is_before", [False, True])
@pytest.mark.usefixtures("threads")
def test_all_numbers_in_one_piece(shape: tuple[int, ...], is_before: bool) -> None:
    numbers = beside_nothing(*shape, is_before=is_before)
    found = beside_nothing(*shape, is_before=is_before)
    taking = Taking(found)
    assert taken(taking, numbers)
    assert torch.equal(found, numbers)
    assert taken(taking, 2 * numbers)
    assert torch.equal(found, 2 * numbers)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 33), (32, 32)], ids=str)
@pytest.mark.parametrize("pad", [(1, 2), (0, 3), (2, 0)], ids=str)
@pytest.mark.usefixtures("threads")
def test_with_others_around(size: tuple[int, int], pad: tuple[int, int]) -> None:
    (height, width), (above, beside) = size, pad
    numbers = torch.randn(3, 5, height, width)
    whole = torch.full((3, 5, height + 2 * above, width + 2 * beside), OTHERS)
    assert taken(Taking(whole[:, :, above : above + height, beside : beside + width]), numbers)
    around = (beside, beside, above, above)
    assert torch.equal(whole, F.pad(numbers, around, value=OTHERS))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.skipif(not llvm.has_short_numbers(), reason="the processor has no short numbers")
def test_short_numbers(shape: tuple[int, ...]) -> None:
    numbers, found = torch.randn(shape), torch.zeros(shape, dtype=torch.bfloat16)
    assert taken(Taking(found), numbers)
    assert torch.equal(found, numbers.bfloat16())


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 3e38])
@pytest.mark.parametrize("shape", [(1,), (5, 67), (2, 3, 5, 7)], ids=str)
@pytest.mark.usefixtures("threads")
def test_one_that_is_not_finite(shape: tuple[int, ...], odd: float) -> None:
    numbers = torch.randn(shape)
    taking = Taking(torch.empty(shape))
    for place in itertools.islice(itertools.product(*map(range, shape)), 0, None, 11):
        before = numbers[place].item()
        numbers[place] = odd
        assert not taken(taking, numbers)
        numbers[place] = before
        assert taken(taking, numbers)


def test_what_a_thread_found_that_is_no_more() -> None:
    numbers = torch.ones(4, 100)
    numbers[3, 99] = torch.nan
    with kernels.threads(2):
        taking = Taking(torch.empty(4, 100))
        assert not taken(taking, numbers)
    with kernels.threads(1):
        assert taken(taking, torch.ones(4, 100))


def test_numbers_that_lie_otherwise() -> None:
    numbers, found = torch.randn(7, 5, 3, 2).permute(3, 2, 1, 0), torch.empty(2, 3, 5, 7)
    assert taken(Taking(found), numbers)
    assert torch.equal(found, numbers)
    assert taken(Taking(found), numbers.double())
    assert torch.equal(found, numbers)
