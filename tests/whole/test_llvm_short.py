"""Kernels of bfloat16 numbers mean what the layers mean, but for these numbers' few digits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import caffe
from caffe.compiled import llvm
from tests.helpers.plans import assert_the_layers_blobs, choices_of, run_by
from tests.helpers.translated import LAYERS, SEVERAL, inputs, one_layer, several

if not llvm.has_short_numbers():
    pytest.skip("no kernels of short numbers can be compiled here", allow_module_level=True)

fixture = run_by("llvm")


@pytest.fixture(autouse=True)
def in_bfloat16() -> Iterator[None]:
    caffe.set_precision("bfloat16")
    yield
    caffe.set_precision("float32")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("in_place", [False, True])
def test_one_layer(name: str, in_place: bool) -> None:
    net = one_layer(name, in_place)
    if net is not None:
        assert_the_layers_blobs(net, 0.04)


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_several_bottoms_or_tops(name: str) -> None:
    assert_the_layers_blobs(several(name), 0.02)


def convolution(name: str, bottom: str, how: str) -> str:
    return f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}"
        convolution_param {{ {how} weight_filler {{ type: "msra" }} }} }}"""


@pytest.mark.parametrize("channels", [1, 3, 5, 16])
@pytest.mark.parametrize("group", [1, 2])
def test_nets_are_run_as_one(channels: int, group: int) -> None:
    text = (
        inputs((3, channels, 14, 15))
        + convolution("one", "a", "num_output: 12 kernel_size: 3 stride: 2")
        + "layer { name: 'relu' type: 'ReLU' bottom: 'one' top: 'one' }"
        + convolution("odd", "one", "num_output: 5 kernel_size: 1")
        + convolution("of odd", "odd", "num_output: 32 kernel_size: 3 pad: 1")
        + convolution("three", "of odd", f"num_output: 32 kernel_size: 3 pad: 1 group: {group}")
        + "layer { name: 'all' type: 'Concat' bottom: 'three' bottom: 'one' top: 'all' }"
        + "layer { name: 'ip' type: 'InnerProduct' bottom: 'all' top: 'ip' inner_product_param"
        " { num_output: 7 weight_filler { type: 'xavier' } } }"
        + "layer { name: 'prob' type: 'Softmax' bottom: 'ip' top: 'prob' }"
    )
    net = caffe.Net(text, caffe.TEST)
    assert_the_layers_blobs(net, 0.03)
    assert len(choices_of(net)) == 1
    prob = net.forward()["prob"]
    assert prob.dtype == np.float32
    np.testing.assert_allclose(prob.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("axis", [1, 2])
def test_probabilities_have_all_digits(axis: int) -> None:
    how = f"softmax_param {{ axis: {axis} }}"
    softmax = f"layer {{ name: 'p' type: 'Softmax' bottom: 'a' top: 'p' {how} }}"
    net = caffe.Net(inputs((2, 24, 5, 3)) + softmax, caffe.TEST)
    assert_the_layers_blobs(net, 0.01)
    prob = net.forward()["p"]
    np.testing.assert_allclose(prob.sum(axis), 1, atol=1e-6)


def test_places_in_pictures_have_all_digits() -> None:
    text = inputs((1, 4, 5, 6), (1, 3, 300, 300), (1, 2, 480)) + convolution(
        "c", "a", "num_output: 4 kernel_size: 1"
    )
    for name in ("one", "two"):
        text += f"layer {{ name: '{name}' type: 'PriorBox' bottom: 'c' bottom: 'b' top: '{name}'"
        text += " prior_box_param { min_size: 30 max_size: 70 aspect_ratio: 2 flip: true } }"
    text += "layer { name: 'boxes' type: 'Concat' bottom: 'one' bottom: 'two' top: 'boxes'"
    text += " concat_param { axis: 2 } }"
    text += "layer { name: 'moved' type: 'Eltwise' bottom: 'one' bottom: 'f' top: 'moved' }"
    text += convolution("end", "c", "num_output: 4 kernel_size: 3")
    net = caffe.Net(text, caffe.TEST)
    assert_the_layers_blobs(net, 0.02)
    assert len(choices_of(net)) == 1
    boxes = net.forward()["boxes"].copy()
    caffe.set_engine("layerwise")
    assert (net.forward()["boxes"] == boxes).all()


@pytest.mark.parametrize("name", ["Padding", "Pad"])
def test_pictures_padded_with_a_number(name: str) -> None:
    how = {
        "Padding": "padding_param { pad_l: 1 pad_b: 3 pad_value: 1 }",
        "Pad": "pad_param { paddings: [0, 1, 2, 0, 1, 1, 0, 3] constant_values: 1 }",
    }[name]
    text = inputs((2, 4, 5, 3)) + convolution("c", "a", "num_output: 4 kernel_size: 1")
    text += f"layer {{ name: 'd' type: '{name}' bottom: 'c' top: 'd' {how} }}"
    assert_the_layers_blobs(caffe.Net(text, caffe.TEST), 0.02)


def test_weights_of_one_output_that_lie_transposed() -> None:
    text = inputs((3, 6)) + (
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'a' top: 'ip' inner_product_param {"
        " num_output: 1 transpose: true weight_filler { type: 'gaussian' } } }"
    )
    assert_the_layers_blobs(caffe.Net(text, caffe.TEST), 0.02)


def test_a_number_that_is_none_is_no_other() -> None:
    net = caffe.Net(inputs((1, 4, 4, 4)) + convolution("c", "a", "num_output: 4 kernel_size: 3"), 1)
    net.blobs["a"].data[...] = 3e38
    for _ in range(3):
        assert not np.isfinite(net.forward()["c"]).all()
    net.blobs["a"].data[...] = 1
    for _ in range(3):
        assert np.isfinite(net.forward()["c"]).all()
