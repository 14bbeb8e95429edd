"""Correlation and warping, place by place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import ShapeError
from tests.helpers.running import SEEDS, close, run, shape


@pytest.mark.parametrize("kind", ["MULTIPLY", "SUBTRACT"])
@pytest.mark.parametrize("seed", SEEDS)
def test_correlation(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = int(rng.choice([1, 3]))
    reach, stride_1, stride_2, pad = shape(rng, 3, 2, 2, 4)
    n, c, h, w = 2, 3, 9, 8
    a, b = rng.normal(size=(2, n, c, h, w))
    margin = reach + kernel // 2
    size = [math.ceil((m + 2 * pad - 2 * margin) / stride_1) for m in (h, w)]
    params = (
        f"kernel_size: {kernel} max_displacement: {reach} stride_1: {stride_1} "
        f"stride_2: {stride_2} pad: {pad} correlation_type: {kind}"
    )
    text = f'type: "Correlation" correlation_param {{ {params} }}'
    if min(size) < 1:
        with pytest.raises(ShapeError, match="do not fit"):
            run(text, a, b)
        return
    around = [(0, 0), (0, 0), (pad, pad), (pad, pad)]
    first, second = np.pad(a, around), np.pad(b, around)
    grid = reach // stride_2
    moves = [d * stride_2 for d in range(-grid, grid + 1)]
    wanted = np.zeros((n, len(moves) ** 2, *size))
    for k, (dy, dx) in enumerate((dy, dx) for dy in moves for dx in moves):
        for i, j in np.ndindex(*size):
            y, z = i * stride_1 + reach, j * stride_1 + reach
            one = first[:, :, y : y + kernel, z : z + kernel]
            two = second[:, :, y + dy : y + dy + kernel, z + dx : z + dx + kernel]
            value = one * two if kind == "MULTIPLY" else np.abs(one - two)
            wanted[:, k, i, j] = value.mean((1, 2, 3))
    close(run(text, a, b)[0], wanted)


@pytest.mark.parametrize("seed", SEEDS)
def test_flow_warp(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = shape(rng, 2, 3, 5, 5)
    x, flow = rng.normal(size=(n, c, h, w)), 2 * rng.normal(size=(n, 2, h, w))
    wanted = np.full_like(x, np.nan)
    for i, y, z in np.ndindex(n, h, w):
        u, v = z + flow[i, 0, y, z], y + flow[i, 1, y, z]
        if 0 <= u < w and 0 <= v < h:
            a, b = int(v), int(u)
            a2, b2 = min(a + 1, h - 1), min(b + 1, w - 1)
            p, q = v - a, u - b
            wanted[i, :, y, z] = (1 - p) * ((1 - q) * x[i, :, a, b] + q * x[i, :, a, b2]) + p * (
                (1 - q) * x[i, :, a2, b] + q * x[i, :, a2, b2]
            )
    text = 'type: "FlowWarp" flow_warp_param { fill_value: NOT_A_NUMBER }'
    close(run(text, x, flow)[0], wanted, 1e-4)
    close(run('type: "FlowWarp"', x, flow)[0], np.nan_to_num(wanted), 1e-4)
