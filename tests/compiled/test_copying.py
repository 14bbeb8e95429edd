"""Numbers are copied to where they belong, and nothing beside them is touched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caffe.compiled import llvm
from caffe.compiled.copying import CHUNK, copying, rows_copied
from tests.helpers.kernels import OTHERS, READ_BEHIND, Inside, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


def numbers(*shape: int) -> Tensor:
    """Random numbers in one piece; behind them others lie."""
    count = torch.Size(shape).numel()
    return torch.randn(count + READ_BEHIND)[:count].view(shape)


def copied(source: Tensor, target: Tensor) -> None:
    """Copy one to the other."""
    assert source.shape == target.shape
    copying(
        source.data_ptr(), target.data_ptr(), source.shape, source.stride(), target.stride()
    ).run()


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((1,), (0,)),
        ((5,), (0,)),
        ((3, 4), (1, 0)),
        ((2, 3, 5, 7), (0, 2, 3, 1)),
        ((2, 3, 5, 7), (0, 3, 1, 2)),
        ((3, 5, 7, 33), (2, 1, 0, 3)),
        ((2, 3, 2, 5, 2, 3), (5, 3, 1, 0, 2, 4)),
        ((2, 1, 3, 1, 18), (4, 1, 2, 3, 0)),
        ((2, CHUNK + 5), (0, 1)),
    ],
)
@pytest.mark.usefixtures("threads")
def test_axes_in_another_order(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    turned = numbers(*shape).permute(order)
    found = torch.full(turned.shape, OTHERS)
    copied(turned, found)
    assert torch.equal(found, turned)


@pytest.mark.usefixtures("threads")
def test_parts_go_into_parts() -> None:
    source, target = numbers(4, 6, 9, 21), torch.full((5, 7, 8, 20), OTHERS)
    expected = target.clone()
    expected[1:4, 2:7, :7, 3:] = source[:3, 1:, 2:, :17]
    copied(source[:3, 1:, 2:, :17], target[1:4, 2:7, :7, 3:])
    assert torch.equal(target, expected)


def test_numbers_are_repeated() -> None:
    source, target = numbers(2, 1, 3, 1, 5), torch.full((2, 4, 3, 2, 5), OTHERS)
    copied(source.expand(target.shape), target)
    assert torch.equal(target, source.expand(target.shape))


@pytest.mark.parametrize("channels", [1, 16, 19, CHUNK + 3])
@pytest.mark.parametrize("short", [False, llvm.has_short_numbers()])
@pytest.mark.usefixtures("threads")
def test_rows_are_copied(channels: int, short: bool) -> None:
    x, found = rows(3, channels, short=short), Inside(3, channels, short=short)
    rows_copied(lying(x), found.rows, 3, channels).run()
    found.assert_equal(x, tolerance=0)
