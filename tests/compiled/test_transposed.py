"""Sums over rows are PyTorch's in float64, added to what is there; nothing beside is written."""

from __future__ import annotations

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.rows import Rows
from caffe.compiled.transposed import TransposedProducts
from tests.helpers.kernels import READ_BEHIND

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (13, 32), (14, 33), (64, 20), (24, 48)])
@pytest.mark.usefixtures("threads")
def test_products_of_columns_are_added(count: int, rows: int, columns: int) -> None:
    matrices = 3
    sizes = [count * matrices * n for n in (rows, columns)]
    left, right = (torch.randn(size + READ_BEHIND) for size in sizes)
    before = torch.randn(matrices, rows, columns + 4)
    found = torch.cat([before.flatten(), torch.zeros(READ_BEHIND)])
    products = TransposedProducts(rows, columns)
    # The matrices lie beside each other, as places of tiles do.
    products.job(
        Rows(left.data_ptr(), matrices * rows, rows),
        Rows(right.data_ptr(), matrices * columns, columns),
        Rows(found.data_ptr(), columns + 4, rows * (columns + 4)),
        count,
        matrices,
    ).run()
    a, b = (
        x[:size].view(count, matrices, -1).transpose(0, 1).double()
        for x, size in zip((left, right), sizes, strict=True)
    )
    expected = before.double()
    expected[..., :columns] += a.transpose(1, 2) @ b
    torch.testing.assert_close(
        found[: before.numel()].view(before.shape).double(), expected, rtol=0, atol=2e-5
    )
    assert not found[before.numel() :].any()
