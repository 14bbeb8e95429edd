"""Losses of boxes that go from square to straight."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.formulas import reference_smooth_l1
from tests.helpers.running import run


@pytest.mark.parametrize("bottoms", [2, 3, 4])
@pytest.mark.parametrize("sigma", [1, 3])
def test_smooth_l1_loss(bottoms: int, sigma: float) -> None:
    rng = np.random.default_rng(0)
    blobs = [rng.normal(size=(3, 4, 2, 2)) for _ in range(bottoms)]
    (top,) = run(f'type: "SmoothL1Loss" smooth_l1_loss_param {{ sigma: {sigma} }}', *blobs)
    a, b, inner, outer = [*blobs, 1, 1][:2] + [*blobs[2:], 1, 1][:2]
    expected = (outer * reference_smooth_l1(inner * (a - b), sigma)).sum() / 3
    np.testing.assert_allclose(top, expected, rtol=1e-5)


def test_l1_loss_leaves_out_nan() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 2, 3, 2, 2))
    b[0, 0, 0, 0] = np.nan
    expected = np.nansum(np.abs(a - b))
    np.testing.assert_allclose(run('type: "L1Loss"', a, b)[0], expected / 2, rtol=1e-5)
    text = 'type: "L1Loss" l1_loss_param { l2_per_location: true epsilon: 0.04 }'
    squares = np.nan_to_num((a - b) ** 2).sum(1)
    np.testing.assert_allclose(run(text, a, b)[0], np.sqrt(squares + 0.04).sum() / 2, rtol=1e-5)
