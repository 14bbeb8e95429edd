"""LRN by hand on odd shapes, of short numbers, and of some pictures at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe.engine.backends.choice import LIBRARIES
from caffe.layers import lrn
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


def test_lrn_of_short_numbers_whose_squares_they_do_not_hold() -> None:
    layer = layer_net('type: "LRN" lrn_param { alpha: 0.0001 }', [(1, 6, 2, 2)]).layer_dict["layer"]
    x = torch.full((1, 6, 2, 2), 300.0)
    found, expected = layer.forward(x.half()), layer.forward(x)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("engine", ["torch", *LIBRARIES])
@pytest.mark.parametrize(("number", "channels"), [(2, 6), (40, 32)])
@pytest.mark.parametrize("beta", [0.75, 0.9])
def test_lrn_of_numbers_whose_squares_nothing_holds(
    beta: float, number: int, channels: int, engine: str
) -> None:
    if engine in LIBRARIES and not LIBRARIES[engine].is_installed():
        pytest.skip("it is not installed")
    x = np.random.default_rng(0).normal(size=(number, channels, 9, 10))
    x[0, 0, 0], x[1, 5, 3, 3], x[1, 2, 2, 2] = 1e20, -3e19, 3e38
    found = []
    for one in ("layerwise", engine):
        caffe.set_engine(one)
        text = f'type: "LRN" lrn_param {{ alpha: 1 beta: {beta} }}'
        found += feed(layer_net(text, [x.shape]), x)
    caffe.set_engine("auto")
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


@pytest.mark.parametrize("piece", [1, 150, 190])
def test_lrn_of_some_pictures_at_a_time_is_that_of_all(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x, diff = rng.normal(size=(11, 6, 3, 4)), rng.normal(size=(11, 6, 3, 4))
    found = []
    for numbers in (10**6, piece):
        monkeypatch.setattr(lrn, "PIECE", numbers)
        net = layer_net('type: "LRN" lrn_param { alpha: 0.5 }', [(11, 6, 3, 4)])
        net.blobs["b0"].data[...] = x
        net.forward()
        net.blobs["t0"].diff[...] = diff
        net.backward()
        found.append((net.blobs["t0"].data.copy(), net.blobs["b0"].diff.copy()))
    for whole, parts in zip(*found, strict=True):
        assert np.array_equal(whole, parts)
