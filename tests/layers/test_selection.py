"""Layers that choose: ArgMax, Reduction, Filter and BatchReindex."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError
from tests.helpers.running import feed, layer_net


def test_argmax_prefers_the_later_of_equal_values() -> None:
    x = [[3, 1, 3, 2, 3], [0, 0, 0, 0, 0]]
    net = layer_net('type: "ArgMax"', [(2, 5)])
    np.testing.assert_array_equal(feed(net, x)[0], [[[4]], [[4]]])
    net = layer_net('type: "ArgMax" argmax_param { top_k: 4 out_max_val: true }', [(2, 5)])
    np.testing.assert_array_equal(
        feed(net, x)[0], [[[4, 2, 0, 3], [3, 3, 3, 2]], [[4, 3, 2, 1], [0, 0, 0, 0]]]
    )


@pytest.mark.parametrize(
    ("operation", "expected"), [("SUM", 2), ("ASUM", 8), ("SUMSQ", 34), ("MEAN", 0.5)]
)
def test_reduction_to_a_scalar(operation: str, expected: float) -> None:
    net = layer_net(f'type: "Reduction" reduction_param {{ operation: {operation} }}', [(2, 2)])
    y = feed(net, [[0, 5], [0, -3]])[0]
    assert y.shape == ()
    assert y == expected


def test_filter_keeps_what_the_last_bottom_marks() -> None:
    net = layer_net('type: "Filter"', [(4, 2), (4, 1, 3), (4, 1)], tops=2, backward=True)
    x = np.arange(8).reshape(4, 2)
    np.testing.assert_array_equal(feed(net, x, 1, [[0], [2], [0], [-1]])[0], [[2, 3], [6, 7]])
    assert net.blobs["t1"].shape == (2, 1, 3)
    net.blobs["t0"].diff[...] = [[1, 2], [3, 4]]
    net.backward()
    np.testing.assert_array_equal(net.blobs["b0"].diff, [[0, 0], [1, 2], [0, 0], [3, 4]])
    assert feed(net, x, 1, 0)[0].shape == (0, 2)


def test_batch_reindex_adds_up_the_gradients_of_what_it_repeats() -> None:
    net = caffe.Net(
        """layer { name: "x" type: "Parameter" top: "x"
                   parameter_param { shape { dim: 3 dim: 1 } } }
        layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 4 } } }
        layer { name: "layer" type: "BatchReindex" bottom: "x" bottom: "i" top: "y"
                loss_weight: 1 propagate_down: true propagate_down: false }""",
        caffe.TEST,
    )
    net.params["x"][0].data[...] = [[5], [6], [7]]
    net.blobs["i"].data[...] = [2, 0, 2, 2]
    np.testing.assert_array_equal(net.forward()["y"], [[7], [5], [7], [7]])
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, [[1], [0], [3]])
    net.blobs["i"].data[...] = [0, 1, 2, 3]
    with pytest.raises(CaffeError, match=r"bottom 1 holds 3 at \[3\]"):
        net.forward()


def test_argmax_of_a_bottom_with_one_axis_has_one_choice_for_each_number() -> None:
    net = layer_net('type: "ArgMax" argmax_param { out_max_val: true }', [(3,)])
    np.testing.assert_array_equal(feed(net, [5, 6, 7])[0], [[[0], [5]], [[0], [6]], [[0], [7]]])
