"""Eltwise: coefficients, and whose the gradient is."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.errors import NetError
from tests.helpers.running import close, feed, layer_net, run


def test_a_sum_of_one_bottom_is_multiplied_by_its_coeff() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3))
    for coeff in (1, 20):
        close(run(f'type: "Eltwise" eltwise_param {{ coeff: {coeff} }}', x)[0], coeff * x)
    for text in ("", "eltwise_param { operation: MAX coeff: 2 }"):
        with pytest.raises(NetError, match="2 or more bottoms"):
            run(f'type: "Eltwise" {text}', x)


def test_eltwise_max_gives_the_gradient_to_one_of_equal_values() -> None:
    net = layer_net('type: "Eltwise" eltwise_param { operation: MAX }', [(4,)] * 3, backward=True)
    feed(net, [1, 5, 0, np.nan], [1, 2, 0, 3], [1, 2, 7, 2])
    np.testing.assert_array_equal(net.blobs["t0"].data, [1, 5, 7, 3])
    net.blobs["t0"].diff[...] = 1
    net.backward()
    gradients = [net.blobs[f"b{i}"].diff for i in range(3)]
    np.testing.assert_array_equal(gradients, [[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]])


def test_eltwise_sum_weighs_by_coeff() -> None:
    net = layer_net('type: "Eltwise" eltwise_param { coeff: [2, -1, 0.5] }', [(2,)] * 3)
    np.testing.assert_array_equal(feed(net, [1, 2], [3, 4], [6, 8])[0], [2, 4])
