"""Axpy, Add and Mul."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.errors import ShapeError
from tests.helpers.running import SEEDS, close, run, shape


@pytest.mark.parametrize("seed", SEEDS)
def test_axpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = shape(rng, 3, 4, 3, 3)
    a, x, y = rng.normal(size=(n, c)), rng.normal(size=(n, c, h, w)), rng.normal(size=(n, c, h, w))
    wanted = np.array([[a[i, j] * x[i, j] + y[i, j] for j in range(c)] for i in range(n)])
    close(run('type: "Axpy"', a, x, y)[0], wanted)
    close(run('type: "Axpy"', a.reshape(n, c, 1, 1), x, y)[0], wanted)


def test_add_and_mul_spread_their_bottoms() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 1, 4)), rng.normal(size=(5, 4))
    close(run('type: "Add"', a, b)[0], a + b)
    close(run('type: "Mul"', a, b)[0], a * b)
    close(run('type: "Mul"', a, np.array(3.0))[0], a * 3)
    learned = 'type: "Mul" mul_param { mul_shape: 5 mul_shape: 4 }'
    close(run(learned, a, params=[b])[0], a * b)
    with pytest.raises(ShapeError, match="must agree or be 1"):
        run('type: "Add"', a, np.zeros(3))
