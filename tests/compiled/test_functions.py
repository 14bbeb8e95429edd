"""Functions of numbers are those of PyTorch in float64, digit for digit of float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from caffe.compiled import llvm
from caffe.compiled.blocks import Finish
from caffe.compiled.functions import FUNCTIONS, Function
from caffe.compiled.pointwise import How, Pointwise
from tests.helpers.kernels import Inside, lying, rows

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

EXPECTED: dict[str, tuple[tuple[float, ...], Callable[[Tensor], Tensor]]] = {
    "absolute": ((), torch.abs),
    "bnll": ((), F.softplus),
    "elu": ((0.4,), lambda x: F.elu(x, 0.4)),
    "hard sigmoid": ((0.2, 0.5), lambda x: (0.2 * x + 0.5).clamp(0, 1)),
    "hard swish": ((), F.hardswish),
    "mish": ((), F.mish),
    "power": ((3, 0.5, 0.0), lambda x: (0.5 * x) ** 3),
    "sigmoid": ((), torch.sigmoid),
    "swish": ((1.0,), F.silu),
    "tanh": ((), torch.tanh),
    "threshold": ((0.25,), lambda x: (x > 0.25).double()),
}
DIFFERENCES = {"hard sigmoid", "hard swish"}
"""Near where they are 0 fewer digits are right, as in PyTorch."""


def test_each_function_is_known_here() -> None:
    assert set(EXPECTED) == set(FUNCTIONS)


def changed(x: Tensor, name: str) -> Tensor:
    """What a function makes of rows."""
    found = Inside(*x.shape)
    how = How(finish=Finish(function=Function(name, EXPECTED[name][0])))
    Pointwise(how, x.shape[1]).job(lying(x), found.rows, len(x)).run()
    return found.place.clone()


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 10.0, 80.0])
def test_all_digits_are_right(name: str, size: float) -> None:
    x = rows(50, 64)
    x *= size
    expected = EXPECTED[name][1](x.double())
    # Of a float32 that is less than 1e-30 fewer digits would do.
    least = 1e-6 if name in DIFFERENCES else 1e-30
    torch.testing.assert_close(changed(x, name).double(), expected, rtol=1e-6, atol=least)


@pytest.mark.parametrize("name", EXPECTED)
def test_far_from_0_they_are_what_they_approach(name: str) -> None:
    x = rows(1, 8)
    x[...] = torch.tensor([-3e4, -200.0, -90.0, -0.0, 0.0, 90.0, 200.0, 3e4])
    expected = EXPECTED[name][1](x.double())
    torch.testing.assert_close(changed(x, name).double(), expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"threshold"}))
def test_what_is_no_number_stays_so(name: str) -> None:
    x = rows(1, 4)
    x[0, 2] = torch.nan
    assert changed(x, name).isnan().tolist() == [[False, False, True, False]]
