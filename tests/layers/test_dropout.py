"""Dropout's chance, and when it drops."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.running import feed, layer_net, run


def test_dropout_that_samples_at_test_drops_there_too() -> None:
    x = np.ones((1, 1000))
    (drawn,) = run('type: "Dropout" dropout_param { sample_weights_test: true }', x)
    assert set(np.unique(drawn)) == {0, 2}
    (plain,) = run('type: "Dropout"', x)
    assert (plain == 1).all()
    (maps,) = run('type: "SpatialDropout"', np.ones((4, 50, 3, 3)), phase=caffe.TRAIN)
    # A whole channel is dropped, or none of it.
    assert set(np.unique(maps.reshape(200, 9).std(1))) == {0}
    assert set(np.unique(maps)) == {0, 2}


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
