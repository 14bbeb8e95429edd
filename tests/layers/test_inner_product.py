"""InnerProduct and Embed: what they refuse, normalized weights, and large ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe import onednn
from caffe.errors import CaffeError
from caffe.layers.inner_product import product
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


@pytest.mark.parametrize("outputs", [2048, 2047])
@pytest.mark.parametrize("transpose", ["false", "true"])
@pytest.mark.parametrize("is_onednns", [True, False])
def test_large_weights_give_what_their_formula_says(
    outputs: int, transpose: str, is_onednns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The numbers of columns are such that they divide into shares, and that they do not.
    if not is_onednns:
        monkeypatch.setattr(onednn, "multiplies_quicker", lambda: False)
    settings = f"num_output: {outputs} transpose: {transpose}"
    layer = f"""type: "InnerProduct" inner_product_param {{ {settings}
        weight_filler {{ type: "gaussian" std: 0.1 }} bias_filler {{ type: "gaussian" }} }}"""
    net = layer_net(layer, [(6, 520)], backward=True)
    x, diff = (np.random.default_rng(n).normal(size=(6, n)) for n in (520, outputs))
    caffe.set_engine("layerwise")
    try:
        found = feed(net, x)[0].copy()
        net.blobs["t0"].diff[...] = diff
        net.backward()
    finally:
        caffe.set_engine("auto")
    weight, bias = (blob.data.astype(float) for blob in net.params["layer"])
    matrix = weight if transpose == "true" else weight.T
    np.testing.assert_allclose(found, x @ matrix + bias, atol=1e-4)
    np.testing.assert_allclose(net.blobs["b0"].diff, diff @ matrix.T, atol=1e-4)
    by_weight = x.T @ diff if transpose == "true" else diff.T @ x
    np.testing.assert_allclose(net.params["layer"][0].diff, by_weight, atol=1e-4)


def test_a_product_that_is_recorded_has_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 520, generator=generator) for n in (16, 512))
    for given in (x, weight):
        given.requires_grad_()
    product(x, weight).sum().backward()
    np.testing.assert_allclose(x.grad, weight.detach().sum(0).expand(16, -1), atol=1e-4)


def test_parts_of_larger_arrays_are_multiplied_too() -> None:
    rows, weight = torch.ones(64, 1024)[:, ::2], torch.ones(1024, 1024)[::2, ::2]
    for given in (weight, weight.t(), weight.contiguous().t()):
        assert bool((product(rows, given) == 512).all())


def test_inner_product_refuses_another_number_of_inputs() -> None:
    net = layer_net('type: "InnerProduct" inner_product_param { num_output: 4 }', [(2, 3)])
    net.blobs["b0"].reshape(2, 5)
    with pytest.raises(CaffeError, match="5 inputs"):
        net.forward()


def test_embed_refuses_rows_that_are_not_there() -> None:
    net = layer_net('type: "Embed" embed_param { num_output: 3 input_dim: 4 }', [(2,)])
    with pytest.raises(CaffeError, match=r"bottom 0 holds 4 at \[1\]"):
        feed(net, [0, 4])


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_large_products_have_gradients_by_the_bias_alone_and_forward() -> None:
    x, weight = torch.randn(64, 512), torch.randn(256, 512)
    bias = torch.zeros(256, requires_grad=True)
    product(x, weight, bias).sum().backward()
    assert bias.grad is not None
    np.testing.assert_array_equal(bias.grad, np.full(256, 64))
    by_x = torch.func.jvp(lambda x: product(x, weight), (x,), (x,))[1]
    np.testing.assert_allclose(by_x, x @ weight.t(), atol=1e-3)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_large_products_can_be_recorded_by_torchscript() -> None:
    x, weight = torch.randn(64, 512), torch.randn(256, 512)
    with torch.no_grad():
        recorded = torch.jit.trace(lambda x: product(x, weight), x, check_trace=False)
        np.testing.assert_allclose(recorded(x), x @ weight.t(), atol=1e-3)
