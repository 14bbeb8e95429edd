"""ONNX Runtime means what the layers mean."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.plans import assert_the_layers_blobs, choices_of, run_by
from tests.helpers.translated import LAYERS, SEVERAL, inputs, joined, one_layer, several

for module in ("onnxruntime", "onnx"):
    pytest.importorskip(module, reason="the extra onnxruntime is not installed")

fixture = run_by("onnxruntime")


def assert_its_blobs(net: caffe.Net) -> None:
    assert_the_layers_blobs(net)
    assert choices_of(net)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("in_place", [False, True])
def test_one_layer(name: str, in_place: bool) -> None:
    net = one_layer(name, in_place)
    if net is None:
        return
    assert_its_blobs(net)
    net.forward()
    if name not in ("Flatten", "Reshape"):
        assert net.explain()[-1].endswith("run by ONNX Runtime")


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_several_bottoms_or_tops(name: str) -> None:
    net = several(name)
    assert_its_blobs(net)
    net.forward()
    assert net.explain()[-1].endswith("run by ONNX Runtime")


def test_what_it_has_no_form_for_stays_with_pytorch() -> None:
    net = joined()
    assert_its_blobs(net)
    assert len(choices_of(net)) == 2
    net.forward()
    assert net.explain()[10].endswith("not by ONNX Runtime: no translation is known for MVN")


@pytest.mark.parametrize("transpose", ["false", "true"])
def test_weights_for_a_single_row_are_read_where_they_lie_and_may_change(transpose: str) -> None:
    net = caffe.Net(
        inputs((1, 40))
        + "layer { name: 'fc' type: 'InnerProduct' bottom: 'a' top: 'fc' inner_product_param { "
        f"num_output: 50 transpose: {transpose} weight_filler {{ type: 'xavier' }} }} }}",
        caffe.TEST,
    )
    x = np.random.default_rng(2).normal(size=(1, 40)).astype(np.float32)
    before = net.forward(a=x)["fc"].copy()
    net.params["fc"][0].data[...] *= -2
    net.params["fc"][1].data[...] = 1
    np.testing.assert_allclose(net.forward(a=x)["fc"], 1 - 2 * before, rtol=1e-5, atol=1e-5)
    assert_its_blobs(net)


def test_a_value_may_be_an_output_as_it_came_in_and_as_a_constant() -> None:
    net = caffe.Net(
        inputs((2, 6, 4, 5), (2, 6, 4, 5))
        + "layer { name: 'drop' type: 'Dropout' bottom: 'a' top: 'drop' }"
        "layer { name: 'priors' type: 'PriorBox' bottom: 'a' bottom: 'b' top: 'priors' "
        "prior_box_param { min_size: 3 } }"
        "layer { name: 'max' type: 'Eltwise' bottom: 'drop' bottom: 'b' top: 'max' "
        "eltwise_param { operation: MAX } }",
        caffe.TEST,
    )
    assert_its_blobs(net)
    for name in net.blobs:
        assert net.blobs[name].data.any()
    assert_its_blobs(net)


def test_small_sums_of_squares_behind_large_ones_are_not_lost() -> None:
    net = caffe.Net(
        inputs((1, 9, 2, 2)) + "layer { name: 'norm' type: 'LRN' bottom: 'a' top: 'norm' "
        "lrn_param { alpha: 6 k: 0.001 } }",
        caffe.TEST,
    )
    x = np.full((1, 9, 2, 2), 1e-3, np.float32)
    x[:, 1] = 100
    found = net.forward(a=x)["norm"].copy()
    caffe.set_engine("layerwise")
    np.testing.assert_allclose(found, net.forward(a=x)["norm"], rtol=1e-5)
