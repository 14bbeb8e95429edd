"""Blocks cover what is to be multiplied, and all threads have as much to do as they can."""

from __future__ import annotations

import math

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.blocks import CACHED, SHAPES, Block, Finish, Sharing
from caffe.compiled.code import Code
from caffe.compiled.llvm import Kernel
from caffe.compiled.memory import ANYWHERE, LargePages, Memory
from tests.helpers.kernels import FINISHES, finished, threads

needs_kernels = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

REGISTERS = {16: 32, 8: 16, 4: 16}


def covered(block: Block, rows: int, columns: int) -> int:
    """How many sums blocks compute for so many rows and columns."""
    return block.down(rows) * block.rows * block.across(columns) * block.columns


@pytest.mark.parametrize("width", SHAPES)
@pytest.mark.parametrize("rows", [1, 13, 14, 15, 49])
def test_the_best_block_computes_little_that_nobody_wants(width: int, rows: int) -> None:
    shapes = [Block(*shape, width) for shape in SHAPES[width]]
    for columns in (1, 15, 16, 31, 33, 100):
        best = Block.best(rows, columns, width)
        assert best in shapes
        assert covered(best, rows, columns) >= rows * columns
        assert covered(best, rows, columns) <= 1.3 * min(covered(s, rows, columns) for s in shapes)


@pytest.mark.parametrize("width", SHAPES)
def test_sums_and_weights_stay_in_registers(width: int) -> None:
    assert all((rows + 1) * vectors <= REGISTERS[width] for rows, vectors in SHAPES[width])


def test_as_many_blocks_as_it_takes() -> None:
    block = Block(14, 2, 16)
    assert block.columns == 32
    assert [block.down(rows) for rows in (1, 14, 15, 28, 29)] == [1, 1, 2, 2, 3]
    assert [block.across(columns) for columns in (1, 32, 33, 100)] == [1, 1, 2, 4]


def test_few_rows_and_many_columns_have_flat_blocks() -> None:
    assert Block.best(7, 64, 16).rows < Block.best(140, 32, 16).rows


@pytest.mark.parametrize("outputs", [1, 15, 16, 31, 32, 33, 100])
@pytest.mark.parametrize("others", [(), (3,), (2, 5)])
@pytest.mark.parametrize("memory", [ANYWHERE, LargePages()])
def test_weights_lie_as_blocks_are_read(
    outputs: int, others: tuple[int, ...], memory: Memory
) -> None:
    block = Block(6, 2, 8)
    weights = torch.randn(*others, outputs, 3)
    packed = block.packed(weights, memory)
    assert packed.shape == (*others, block.across(outputs), 3, 16)
    assert packed.is_contiguous()
    in_order = packed.transpose(-1, -2).reshape(*others, -1, 3)
    assert torch.equal(in_order[..., :outputs, :], weights)
    assert not in_order[..., outputs:, :].any()


@pytest.mark.parametrize("outputs", [1, 31, 32, 33])
@pytest.mark.parametrize("others", [(), (4,)])
def test_biases_have_zeros_behind_them(outputs: int, others: tuple[int, ...]) -> None:
    block = Block(14, 2, 16)
    biases = torch.randn(*others, outputs)
    padded = block.padded(biases)
    assert padded.shape == (*others, 32 * block.across(outputs))
    assert torch.equal(padded[..., :outputs], biases)
    assert not padded[..., outputs:].any()


@needs_kernels
@pytest.mark.parametrize("finish", FINISHES)
def test_numbers_are_finished(finish: Finish) -> None:
    odd = [0.0, -0.0, 0.5, -0.25, 1e-40, 3e38, -3e38, torch.inf, -torch.inf, torch.nan]
    values = torch.cat([torch.tensor(odd), torch.randn(22)])
    found = _finished(finish, values, None)
    expected = finished(values.double(), finish).float()
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0, equal_nan=True)


@needs_kernels
@pytest.mark.parametrize("adds_last", [False, True])
def test_others_are_added_first_or_last(adds_last: bool) -> None:
    finish = Finish(slope=0.5, most=2.0, has_added=True, adds_last=adds_last)
    values, added = torch.randn(32), torch.randn(32)
    expected = finished(values.double(), finish, added)
    found = _finished(finish, values, added)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def _finished(finish: Finish, values: torch.Tensor, added: torch.Tensor | None) -> torch.Tensor:
    code = Code(["values", "added", "count"], 4)
    with code.shared(code.given["count"]) as i:
        place, other = (
            code.add(code.given[name], code.multiply(i, 16)) for name in ("values", "added")
        )
        code.store(finish.write(code, code.load(place), other), place)
    found = values.clone()
    Kernel(code.text)(found.data_ptr(), 0 if added is None else added.data_ptr(), len(values) // 4)
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("blocks", [1, 2, 7, 300])
@pytest.mark.parametrize("columns", [1, 4, 50])
def test_every_thread_has_something_to_do(count: int, blocks: int, columns: int) -> None:
    for row_bytes in (100, CACHED // 3, 5 * CACHED):
        with threads(count):
            sharing = Sharing.of(blocks, 2, columns, row_bytes, 10_000)
        assert count % sharing.parts == 0
        assert 1 <= sharing.group <= max(blocks, CACHED // row_bytes)
        sharers = count // sharing.parts
        groups = math.ceil(2 * math.ceil(blocks / sharing.group) / sharers)
        busiest = min(groups * sharing.group, 2 * blocks) * math.ceil(columns / sharing.parts)
        only_rows = math.ceil(2 * blocks / count) * columns
        only_columns = 2 * blocks * math.ceil(columns / count)
        assert busiest <= 1.25 * min(only_rows, only_columns)


def test_many_columns_are_parted_among_the_threads_and_many_rows_shared() -> None:
    with threads(6):
        assert Sharing.of(1, 1, 100, 1000, 100_000).parts == 6
        rows = Sharing.of(480, 1, 2, 1000, 1000)
    assert rows.parts == 1
    # Some groups for each, since no two threads are equally quick.
    assert 480 / rows.group >= 4 * 6


def test_what_is_read_again_stays_in_the_cache() -> None:
    with threads(1):
        few_weights = Sharing.of(400, 1, 4, CACHED // 2, 1000)
        many_weights = Sharing.of(3, 1, 100, CACHED, 10_000_000)
    assert few_weights.group == 2
    assert many_weights.group == 3
