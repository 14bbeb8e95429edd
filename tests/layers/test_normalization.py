"""LRN by hand on odd shapes; Dropout's chance; BatchNorm's statistics over several batches."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.running import feed, layer_net


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_lrn_across_channels(size: int, channels: int) -> None:
    net = layer_net(
        f'type: "LRN" lrn_param {{ local_size: {size} alpha: 0.9 beta: 0.6 k: 1.5 }}',
        [(2, channels, 2, 3)],
    )
    x = np.random.default_rng(0).normal(size=(2, channels, 2, 3))
    expected = np.empty_like(x)
    for c in range(channels):
        near = x[:, max(0, c - size // 2) : c + size // 2 + 1]
        expected[:, c] = x[:, c] / (1.5 + 0.9 / size * (near**2).sum(1)) ** 0.6
    np.testing.assert_allclose(feed(net, x)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn_within_a_channel_counts_the_padding_and_ignores_k(size: int) -> None:
    settings = f"norm_region: WITHIN_CHANNEL local_size: {size} alpha: 0.9 k: 7"
    net = layer_net(f'type: "LRN" lrn_param {{ {settings} }}', [(1, 2, 4, 3)])
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 3))
    padded = np.pad(x, ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
    expected = x / (1 + 0.9 * (windows**2).mean((-2, -1))) ** 0.75
    np.testing.assert_allclose(feed(net, x)[0], expected, rtol=1e-5, atol=1e-6)


def test_batch_norm_gathers_statistics_that_test_then_uses() -> None:
    text = "batch_norm_param { moving_average_fraction: 0.5 eps: 0 }"
    train = layer_net(f'type: "BatchNorm" {text}', [(4, 3, 2)], phase=caffe.TRAIN)
    rng = np.random.default_rng(0)
    mean, variance, factor = np.zeros(3), np.zeros(3), 0.0
    for _ in range(3):
        x = rng.normal(2, 3, size=(4, 3, 2))
        y = feed(train, x)[0]
        np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(y.var((0, 2)), 1, rtol=1e-4)
        mean = 0.5 * mean + x.mean((0, 2))
        variance = 0.5 * variance + x.var((0, 2), ddof=1)
        factor = 0.5 * factor + 1
    for blob, expected in zip(train.params["layer"], (mean, variance, [factor]), strict=True):
        np.testing.assert_allclose(blob.data, expected, rtol=1e-5)
    test = layer_net(f'type: "BatchNorm" {text}', [(4, 3, 2)])
    test.share_with(train)
    expected = (x - (mean / factor)[:, None]) / np.sqrt(variance / factor)[:, None]
    np.testing.assert_allclose(feed(test, x)[0], expected, rtol=1e-4, atol=1e-5)


def test_dropout_zeroes_by_chance_and_scales_the_rest() -> None:
    caffe.set_random_seed(3)
    net = layer_net(
        'type: "Dropout" dropout_param { dropout_ratio: 0.2 }',
        [(100, 100)],
        phase=caffe.TRAIN,
        backward=True,
    )
    y = feed(net, 4)[0]
    assert set(np.unique(y)) == {0, 5}
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.02)
    net.blobs["t0"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.blobs["b0"].diff, y / 4)
    first = y.copy()
    assert (feed(net, 4)[0] != first).any()


def test_dropout_repeats_after_the_same_seed() -> None:
    net = layer_net('type: "Dropout"', [(50,)], phase=caffe.TRAIN)
    caffe.set_random_seed(3)
    first = feed(net, 1)[0].copy()
    caffe.set_random_seed(3)
    np.testing.assert_array_equal(feed(net, 1)[0], first)


@pytest.mark.parametrize("shape", [(6,), (3, 4), (3, 4, 2), (3, 4, 2, 2)])
def test_mvn_sees_and_gives_four_axes(shape: tuple[int, ...]) -> None:
    net = layer_net(
        'type: "MVN" mvn_param { across_channels: true eps: 0.5 }', [shape], backward=True
    )
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    y = feed(net, x)[0]
    assert y.shape == (*shape, 1, 1, 1)[:4]
    rows = x.reshape(shape[0], -1)
    centred = rows - rows.mean(1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(1, keepdims=True)) + 0.5
    np.testing.assert_allclose(y.reshape(rows.shape), centred / deviation, atol=1e-6)
    net.blobs["t0"].diff[...] = 1
    net.backward()
    assert net.blobs["b0"].diff.shape == shape
