"""InnerProduct and Embed: what they refuse, and normalized weights."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError
from tests.helpers.running import feed, layer_net


def test_inner_product_with_normalized_weights_is_no_plain_one() -> None:
    # By the prepared plan as well as layer by layer.
    text = """input: "x" input_shape { dim: 2 dim: 3 }
    layer { name: "p" type: "InnerProduct" bottom: "x" top: "y" inner_product_param {
            num_output: 2 normalize: true bias_term: false weight_filler { type: "xavier" } } }"""
    x = np.random.default_rng(0).normal(size=(2, 3))
    for engine in ("auto", "layerwise"):
        caffe.set_engine(engine)
        try:
            net = caffe.Net(text, caffe.TEST)
            net.params["p"][0].data[...] = [[3, 0, 4], [0, 2, 0]]
            top = net.forward(x=x)["y"]
        finally:
            caffe.set_engine("auto")
        expected = np.stack([0.6 * x[:, 0] + 0.8 * x[:, 2], x[:, 1]], 1)
        np.testing.assert_allclose(top, expected, rtol=1e-5)


def test_inner_product_refuses_another_number_of_inputs() -> None:
    net = layer_net('type: "InnerProduct" inner_product_param { num_output: 4 }', [(2, 3)])
    net.blobs["b0"].reshape(2, 5)
    with pytest.raises(CaffeError, match="5 inputs"):
        net.forward()


def test_embed_refuses_rows_that_are_not_there() -> None:
    net = layer_net('type: "Embed" embed_param { num_output: 3 input_dim: 4 }', [(2,)])
    with pytest.raises(CaffeError, match=r"bottom 0 holds 4 at \[1\]"):
        feed(net, [0, 4])
