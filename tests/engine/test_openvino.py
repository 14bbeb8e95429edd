"""OpenVINO means what the layers mean, and is used where that pays."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.engine.backends import choice
from tests.helpers.plans import assert_the_layers_blobs, choices_of, run_by
from tests.helpers.precision import needs_bfloat16
from tests.helpers.translated import LAYERS, SEVERAL, TYPES, inputs

pytest.importorskip("openvino", reason="the extra openvino is not installed")

fixture = run_by("openvino")


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer(name: str) -> None:
    kind = TYPES.get(name, name)
    text = inputs((2, 6, 11, 10)) + (
        f"layer {{ name: 'layer' type: '{kind}' bottom: 'a' top: 'layer' {LAYERS[name]} }}"
    )
    net = caffe.Net(text, caffe.TEST)
    if kind == "BatchNorm":
        for blob, value in zip(net.params["layer"], (0.5, 2, 2), strict=True):
            blob.data[...] = value
    if kind not in ("Flatten", "Reshape"):
        assert_the_layers_blobs(net)
    if not LAYERS[name] and kind not in ("Flatten", "AbsVal"):
        text = text.replace("top: 'layer'", "top: 'a'")
    assert_the_layers_blobs_behind_another(text, net)


def assert_the_layers_blobs_behind_another(text: str, net: caffe.Net) -> None:
    """The same net behind another layer, so that its bottom is no input, and may be its top."""
    text = text.replace("name: 'a' type: 'Input' top: 'a'", "name: 'x' type: 'Input' top: 'x'")
    head = "layer { name: 'power' type: 'Power' bottom: 'x' top: 'a' power_param { scale: 2 } }\n"
    behind = caffe.Net(text.replace("layer { name: 'layer'", head + "layer { name: 'layer'"), 1)
    behind.share_with(net)
    assert_the_layers_blobs(behind)


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_several_bottoms_or_tops(name: str) -> None:
    shape = (2, 6, 4, 5)
    text = inputs(shape, shape, *([(2, 6)] if name == "axpy" else []))
    net = caffe.Net(f"{text} layer {{ name: '{name}' top: '{name}' {SEVERAL[name]} }}", caffe.TEST)
    assert_the_layers_blobs(net)


NET = (
    inputs((2, 3, 16, 16))
    + """
layer { name: "conv" type: "Convolution" bottom: "a" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "mvn" type: "MVN" bottom: "conv" top: "mvn" }
layer { name: "fc" type: "InnerProduct" bottom: "mvn" top: "fc"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"""
)
PICTURES = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)


def test_what_it_cannot_do_stays_with_pytorch() -> None:
    net = caffe.Net(NET, caffe.TEST)
    assert_the_layers_blobs(net)
    first, last = choices_of(net)
    assert first.compiled is not None
    assert last.compiled is not None
    by = [reason.rpartition("; ")[2] for reason in net.explain()]
    assert by == [
        "given by the program",
        "run by OpenVINO",
        "run by OpenVINO",
        "not by OpenVINO: no translation is known for MVN",
        "run by OpenVINO",
    ]


@pytest.mark.usefixtures("try_small_nets")
def test_auto_prepares_it_only_when_nothing_changes_for_some_runs() -> None:
    net = caffe.Net(NET, caffe.TEST)
    for _ in range(choice.PATIENCE - 1):
        net.forward(a=PICTURES)
        assert all(tried.due is not None for tried in choices_of(net))
    net.params["conv"][0].data[...] *= 2
    for _ in range(choice.PATIENCE - 1):
        net.forward(a=PICTURES)
        assert choices_of(net)[0].due is not None
    net.forward(a=PICTURES)
    assert choices_of(net)[0].due is None


@pytest.mark.usefixtures("try_small_nets")
def test_auto_keeps_the_faster_one() -> None:
    net = caffe.Net(NET, caffe.TEST)
    expected = net.forward(a=PICTURES)["fc"].copy()
    tried, _ = choices_of(net)
    for _ in range(choice.PATIENCE + len(choice.LIBRARIES) * choice.TRIAL):
        found = net.forward(a=PICTURES)["fc"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert tried.is_settled
    assert (tried.chosen is not None) == (tried.compiled is not None)
    assert tried.told in net.explain()[1]


def test_a_parameter_that_is_held_is_not_given_to_it() -> None:
    net = caffe.Net(NET, caffe.TEST)
    held = net.params["conv"][0].data
    net.forward(a=PICTURES)
    assert choices_of(net)[0].compiled is None
    held[...] = 0
    assert not net.forward(a=PICTURES)["fc"].any()


def test_what_is_no_number_comes_out_as_from_the_layers() -> None:
    net = caffe.Net(
        inputs((1, 1, 4, 4)) + "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'r' }", 1
    )
    net.blobs["a"].data[...] = np.nan
    assert np.isnan(net.forward()["r"]).all()
    net.blobs["a"].data[...] = 1
    assert (net.forward()["r"] == 1).all()


@needs_bfloat16
@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
def test_bfloat16_gives_float32_blobs_near_float32s() -> None:
    net = caffe.Net(NET, caffe.TEST)
    net.forward(a=PICTURES)
    expected = net.blobs["conv"].data.copy()
    caffe.set_precision("bfloat16")
    try:
        found = net.forward(blobs=["conv"])["conv"]
    finally:
        caffe.set_precision("float32")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
