"""Spatial transformers, deformable and local convolutions against loops over places."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caffe
from caffe.errors import NetError, ShapeError
from tests.helpers.running import run


def between(x: np.ndarray, row: float, column: float) -> np.ndarray:
    """The value of maps (C, H, W) between four places, 0 outside."""
    total = np.zeros(len(x))
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            if 0 <= r < x.shape[1] and 0 <= c < x.shape[2]:
                total += x[:, r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    return total


@pytest.mark.parametrize("seed", range(4))
def test_spatial_transformer_looks_where_theta_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3, 5, 6))
    theta = np.array([1, 0, 0, 0, 1, 0]) + 0.4 * rng.normal(size=(2, 6))
    (top,) = run('type: "SpatialTransformer" st_param { output_H: 4 output_W: 7 }', x, theta)
    assert top.shape == (2, 3, 4, 7)
    for n in range(2):
        for i in range(4):
            for j in range(7):
                place = theta[n].reshape(2, 3) @ [i / 4 * 2 - 1, j / 7 * 2 - 1, 1]
                row, column = (place + 1) / 2 * [5, 6]
                np.testing.assert_allclose(top[n, :, i, j], between(x[n], row, column), atol=2e-5)


def test_spatial_transformer_with_fixed_entries_is_the_same() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 5))
    free = np.array([[0.5, 0.1, 0.2, -0.1, 0.6, 0.3]])
    (whole,) = run('type: "SpatialTransformer"', x, free)
    text = "st_param { theta_1_2: 0.1 theta_2_1: -0.1 }"
    (fixed,) = run(f'type: "SpatialTransformer" {text}', x, free[:, [0, 2, 4, 5]])
    np.testing.assert_allclose(whole, fixed, atol=1e-6)
    with pytest.raises(ShapeError, match="theta must have 4 numbers"):
        run(f'type: "SpatialTransformer" {text}', x, free)


@pytest.mark.parametrize("seed", range(4))
def test_deformable_convolution_moves_each_tap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, stride, dilation = [(1, 1, 1), (2, 2, 1), (2, 1, 2), (4, 1, 1)][seed]
    x = rng.normal(size=(2, 4, 6, 7))
    high = (6 + 2 - dilation * 2 - 1) // stride + 1
    wide = (7 + 2 - dilation * 2 - 1) // stride + 1
    offsets = rng.normal(size=(2, 18 * groups, high, wide))
    text = f"""deformable_convolution_param {{ num_output: 3 kernel_size: 3 pad: 1 stride: {stride}
        dilation: {dilation} deformable_group: {groups}
        weight_filler {{ type: "gaussian" std: 1 }} bias_filler {{ value: 0.5 }} }}"""
    net = caffe.Net(
        f"""input: "x" input_shape {{ dim: 2 dim: 4 dim: 6 dim: 7 }}
        input: "o" input_shape {{ dim: 2 dim: {18 * groups} dim: {high} dim: {wide} }}
        layer {{ name: "d" type: "DeformableConvolution" bottom: "x" bottom: "o" top: "y"
                 {text} }}""",
        caffe.TEST,
    )
    top = net.forward(x=x, o=offsets)["y"]
    weights = net.params["d"][0].data
    expected = np.full((2, 3, high, wide), 0.5)
    each = 4 // groups
    for n in range(2):
        for i in range(high):
            for j in range(wide):
                seen = np.zeros((4, 3, 3))
                for g in range(groups):
                    for tap in range(9):
                        down, right = offsets[n, 18 * g + 2 * tap : 18 * g + 2 * tap + 2, i, j]
                        row = i * stride - 1 + tap // 3 * dilation + down
                        column = j * stride - 1 + tap % 3 * dilation + right
                        if 0 <= row < 6 and 0 <= column < 7:
                            own = x[n, g * each : (g + 1) * each]
                            values = between(own, min(row, 5), min(column, 6))
                            seen[g * each : (g + 1) * each, tap // 3, tap % 3] = values
                expected[n, :, i, j] += (weights * seen).sum((1, 2, 3))
    np.testing.assert_allclose(top, expected, atol=5e-5)


def test_deformable_convolution_refuses_other_offsets() -> None:
    text = "deformable_convolution_param { num_output: 1 kernel_size: 3 }"
    with pytest.raises(ShapeError, match=r"offsets must have the shape \(1, 18, 2, 2\)"):
        run(f'type: "DeformableConvolution" {text}', np.zeros((1, 2, 4, 4)), np.zeros((1, 9, 2, 2)))
    text = text.replace("kernel_size", "deformable_group: 3 kernel_size")
    with pytest.raises(NetError, match="multiple of deformable_group"):
        run(f'type: "DeformableConvolution" {text}', np.zeros((1, 2, 4, 4)), np.zeros((1, 9, 2, 2)))


def test_local_has_kernels_of_its_own_at_each_place() -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 5, 6))
    net = caffe.Net(
        """input: "x" input_shape { dim: 2 dim: 2 dim: 5 dim: 6 }
        layer { name: "l" type: "Local" bottom: "x" top: "y" local_param { num_output: 3
                kernel_size: 3 stride: 2 pad: 1 weight_filler { type: "gaussian" std: 1 }
                bias_filler { type: "gaussian" std: 1 } } }""",
        caffe.TEST,
    )
    weights, bias = (blob.data for blob in net.params["l"])
    assert (weights.shape, bias.shape) == ((3, 1, 18, 9), (1, 1, 3, 9))
    top = net.forward(x=x)["y"]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for i in range(3):
        for j in range(3):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].reshape(2, -1)
            expected = window @ weights[:, 0, :, 3 * i + j].T + bias[0, 0, :, 3 * i + j]
            np.testing.assert_allclose(top[:, :, i, j], expected, atol=2e-5)
