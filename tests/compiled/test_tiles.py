"""Both ways between pictures and Winograd's form are what their matrices say."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.blocks import Finish
from caffe.compiled.tiles import AddingFromOtherForm, FromOtherForm, ToOtherForm
from caffe.layers.winograd import Tiles, matrices
from tests.helpers.kernels import beside_nothing

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

CASES = [(2, 64, 13, 22, 3, (1, 1)), (3, 16, 9, 9, 5, (2, 0)), (1, 24, 8, 31, 3, (0, 2)),
         (2, 12, 5, 5, 3, (1, 1)), (2, 50, 8, 8, 5, (4, 4)), (1, 6, 7, 7, 3, (0, 0))]  # fmt: skip


def described(case: tuple[int, int, int, int, int, tuple[int, int]]) -> tuple[Tiles, torch.Tensor]:
    number, channels, height, width, size, pad = case
    x = torch.randn(number, channels, height, width).contiguous(memory_format=torch.channels_last)
    return Tiles(tuple(x.shape), size, pad, channels), x


@pytest.mark.parametrize("case", CASES)
def test_tiles_are_gathered_and_changed(
    case: tuple[int, int, int, int, int, tuple[int, int]],
) -> None:
    tiles, x = described(case)
    number, channels, _, _, size, pad = case
    matrix = matrices(tiles.m, size)[2]
    count = number * tiles.grid[0] * tiles.grid[1]
    change = ToOtherForm(matrix, tiles.m, channels)
    found = torch.empty(count, tiles.across**2, channels)
    middle = count // 2
    change(x, tiles.grid, pad, 0, found[:middle])
    change(x, tiles.grid, pad, middle, found[middle:])
    b = torch.tensor(matrix, dtype=torch.float64)
    squares = tiles.of_inputs(x).double()
    expected = torch.einsum("pi,ntxcij,qj->ntxpqc", b, squares, b).reshape(found.shape)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6 * float(expected.max()))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("slope", [1.0, 0.0, 0.1])
def test_results_are_put_where_they_belong(
    case: tuple[int, int, int, int, int, tuple[int, int]], slope: float
) -> None:
    tiles, _ = described(case)
    number, channels, *_, size, _ = case
    matrix = matrices(tiles.m, size)[0]
    grid, across = tiles.grid, tiles.across
    made = torch.randn(number * grid[0] * grid[1], across**2, channels)
    back = FromOtherForm(matrix, channels, Finish(slope=slope))
    # The pictures are a part of larger ones, whose other channels stay as they were.
    whole = torch.full((number, *tiles.outputs, channels + 4), 7.0)
    found = whole[..., :channels]
    middle = len(made) // 3
    back(made[:middle], grid, 0, found)
    back(made[middle:], grid, middle, found)
    a = torch.tensor(matrix, dtype=torch.float64)
    squares = made.double().view(number, *grid, across, across, channels)
    results = torch.einsum("pi,ntxijc,qj->ntpxqc", a, squares, a)
    results = results.reshape(number, grid[0] * tiles.m, grid[1] * tiles.m, channels)
    expected = results[:, : tiles.outputs[0], : tiles.outputs[1]]
    expected = torch.where(expected > 0, expected, slope * expected)
    most = float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6 * most)
    assert bool((whole[..., channels:] == 7).all())


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize("channels", [6, 50])
def test_nothing_beside_the_channels_is_read_or_written(channels: int, is_before: bool) -> None:
    a, _, b = matrices(4, 5)
    pixels = beside_nothing(1, 9, 9, channels, is_before=is_before)
    tiles = beside_nothing(4, 64, channels, is_before=is_before)
    ToOtherForm(b, 4, channels)(pixels.permute(0, 3, 1, 2), (2, 2), (1, 1), 0, tiles)
    FromOtherForm(a, channels)(tiles, (2, 2), 0, pixels)
    back = [list(row) for row in zip(*b, strict=True)]
    AddingFromOtherForm(back, 4, channels).job(tiles, (2, 2), (1, 1), 0, pixels).run()
    assert bool(pixels.isfinite().all())
