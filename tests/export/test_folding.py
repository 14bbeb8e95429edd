"""Factors and summands of channels, taken into the weights before them."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from fuzz.layers import given
from tests.helpers.exported import Run

W = "weight_filler { type: 'gaussian' std: 1 }"
KINDS = {
    "Convolution": f"convolution_param {{ num_output: 4 kernel_size: 3 group: 2 {W} }}",
    "Deconvolution": f"convolution_param {{ num_output: 4 kernel_size: 2 group: 2 {W} }}",
    "InnerProduct": f"inner_product_param {{ num_output: 4 {W} }}",
    "InnerProduct ": "inner_product_param { num_output: 4 transpose: true bias_term: false "
    f"{W} }}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_and_what_follows_it(kind: str) -> None:
    text = given("a", (2, 2, 5, 5)) + (
        f"layer {{ name: 'w' type: '{kind.strip()}' bottom: 'a' top: 'b' {KINDS[kind]} }}"
        "layer { name: 'bn' type: 'BatchNorm' bottom: 'b' top: 'b' }"
        "layer { name: 'scale' type: 'Scale' bottom: 'b' top: 'c' scale_param { bias_term: true } }"
        "layer { name: 'bias' type: 'Bias' bottom: 'c' top: 'c' }"
        "layer { name: 'relu' type: 'ReLU' bottom: 'c' top: 'c' }"
    )
    run = Run(text, 0)
    net = caffe.export.folded(run.net)
    assert [layer.type for layer in net.layers] == ["Input", kind.strip(), "ReLU"]
    found = net.forward(**run.given)
    np.testing.assert_allclose(found["c"], run.wanted["c"], rtol=1e-4, atol=1e-4)
    assert len(run.net.layers) == 6


def test_what_others_read_stays() -> None:
    text = given("a", (1, 2, 5, 5)) + (
        f"layer {{ name: 'w' type: 'Convolution' bottom: 'a' top: 'b' {KINDS['Convolution']} }}"
        "layer { name: 'scale' type: 'Scale' bottom: 'b' top: 'c' }"
        "layer { name: 'sum' type: 'Eltwise' bottom: 'b' bottom: 'c' top: 'd' }"
    )
    run = Run(text, 0)
    net = caffe.export.folded(run.net)
    assert [layer.name for layer in net.layers if layer.type != "Split"] == [
        "a",
        "w",
        "scale",
        "sum",
    ]
    np.testing.assert_allclose(net.forward(**run.given)["d"], run.wanted["d"], rtol=1e-4)
