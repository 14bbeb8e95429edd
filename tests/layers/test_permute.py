"""Permute and Reorg."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.errors import CaffeError, NetError, ShapeError
from tests.helpers.running import floats, run


@pytest.mark.parametrize("seed", range(6))
def test_permute_reorders_axes_and_appends_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = int(rng.integers(2, 6))
    x = rng.normal(size=rng.integers(1, 5, axes))
    order = [int(n) for n in rng.permutation(axes)[: rng.integers(1, axes + 1)]]
    whole = order + [i for i in range(axes) if i not in order]
    (top,) = run(f'type: "Permute" permute_param {{ {" ".join(f"order: {n}" for n in order)} }}', x)
    np.testing.assert_array_equal(top, floats(x).transpose(whole))


@pytest.mark.parametrize(
    ("order", "error"), [("order: 1 order: 1", NetError), ("order: 4", ShapeError)]
)
def test_permute_refuses_an_order_that_is_none(order: str, error: type[CaffeError]) -> None:
    with pytest.raises(error, match=r"layer 'layer' \(Permute\): order \["):
        run(f'type: "Permute" permute_param {{ {order} }}', np.zeros((1, 2, 3, 4)))


@pytest.mark.parametrize("reverse", [False, True])
def test_reorg_puts_numbers_where_darknet_does(reverse: bool) -> None:
    num, channels, height, width, stride = 2, 8, 4, 6, 2
    x = floats(np.arange(num * channels * height * width)).reshape(num, channels, height, width)
    (top,) = run(
        f'type: "Reorg" reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}', x
    )
    flat, out, small = x.ravel(), np.empty(x.size, np.float32), channels // stride**2
    for b in range(num):
        for k in range(channels):
            for j in range(height):
                for i in range(width):
                    here = i + width * (j + height * (k + channels * b))
                    column = i * stride + (k // small) % stride
                    row = j * stride + (k // small) // stride
                    there = column + width * stride * (
                        row + height * stride * (k % small + small * b)
                    )
                    if reverse:
                        out[there] = flat[here]
                    else:
                        out[here] = flat[there]
    shape = (num, 2, 8, 12) if reverse else (num, 32, 2, 3)
    np.testing.assert_array_equal(top, out.reshape(shape))
