"""Kernels that LLVM compiles mean what the layers mean."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from caffe.compiled import llvm
from caffe.compiled.normalizing import Normalizing
from caffe.engine.backends import llvm_nodes
from caffe.engine.backends.llvm import LLVM
from tests.helpers.plans import assert_the_layers_blobs, choices_of, run_by
from tests.helpers.translated import LAYERS, SEVERAL, inputs, joined, one_layer, several

if not llvm.width():
    pytest.skip("no kernels can be compiled here", allow_module_level=True)

fixture = run_by("llvm")

STATM = Path("/proc/self/statm")


def assert_its_blobs(net: caffe.Net) -> None:
    assert_the_layers_blobs(net, 2e-5)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("in_place", [False, True])
def test_one_layer(name: str, in_place: bool) -> None:
    net = one_layer(name, in_place)
    if net is not None:
        assert_its_blobs(net)


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_several_bottoms_or_tops(name: str) -> None:
    assert_its_blobs(several(name))


def test_what_it_has_no_form_for_stays_with_pytorch() -> None:
    net = joined()
    assert_its_blobs(net)
    assert len(choices_of(net)) >= 2
    net.forward()
    assert net.explain()[10].endswith("not by LLVM: no form for LLVM is known for MVN")


def convolution(name: str, bottom: str, outputs: int, how: str, top: str = "") -> str:
    return f"""layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top or name}"
        convolution_param {{ num_output: {outputs} {how}
            weight_filler {{ type: "gaussian" std: 0.2 }}
            bias_filler {{ type: "uniform" min: -1 }} }} }}"""


@pytest.mark.parametrize("outputs", [4, 16, 24, 33, 64, 100])
@pytest.mark.parametrize(
    "how",
    [
        "kernel_size: 1",
        "kernel_size: 1 stride: 2",
        "kernel_size: 3 pad: 1",
        "kernel_size: 3 stride: 2",
        "kernel_size: 3 pad: 2 dilation: 2",
        "kernel_h: 2 kernel_w: 5 pad_h: 1 pad_w: 4 stride_h: 3 stride_w: 1",
        "kernel_size: 5 pad: 2",
        "kernel_size: 3 pad: 1 bias_term: false",
    ],
)
@pytest.mark.parametrize("channels", [3, 16, 40])
def test_convolutions_of_all_kinds(outputs: int, how: str, channels: int) -> None:
    text = inputs((3, channels, 11, 14)) + convolution("conv", "a", outputs, how)
    assert_its_blobs(caffe.Net(text, caffe.TEST))


@pytest.mark.parametrize("group", [2, 4, 32])
@pytest.mark.parametrize("how", ["kernel_size: 1", "kernel_size: 3 pad: 1", "kernel_size: 5"])
def test_groups_of_channels(group: int, how: str) -> None:
    text = (
        inputs((2, 32, 9, 13))
        + convolution("first", "a", 32, "kernel_size: 1")
        + convolution("conv", "first", 64 if group < 32 else 32, f"{how} group: {group}")
    )
    assert_its_blobs(caffe.Net(text, caffe.TEST))


@pytest.mark.parametrize("how", ["pad: 1", "pad: 2 stride: 2", "dilation: 2 pad: 3", "stride: 3"])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("width", [5, 7, 18])
def test_each_channel_by_itself(how: str, size: int, width: int) -> None:
    text = inputs((2, 24, 9, width)) + convolution(
        "conv", "a", 24, f"kernel_size: {size} group: 24 {how}"
    )
    assert_its_blobs(caffe.Net(text, caffe.TEST))


def layer(kind: str, bottoms: str, top: str, how: str = "") -> str:
    named = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    return f'layer {{ name: "{top}" type: "{kind}" {named} top: "{top}" {how} }}\n'


def reshaped(bottom: str, top: str, *shape: int) -> str:
    dims = " ".join(f"dim: {n}" for n in shape)
    return layer("Reshape", bottom, top, f"reshape_param {{ shape {{ {dims} }} }}")


def product(bottom: str, top: str) -> str:
    how = "num_output: 8 weight_filler { type: 'gaussian' std: 0.1 }"
    return layer("InnerProduct", bottom, top, f"inner_product_param {{ {how} }}")


INPUTS_READ = {
    "as planes, and added": ([(2, 4, 9, 9)], layer("Eltwise", "c a", "s")),
    "one as planes, one added": ([(2, 3, 9, 9), (2, 8, 9, 9)], layer("Eltwise", "c b", "s")),
    "as planes and as rows": ([(2, 3, 9, 9)], product("a", "p")),
    "as planes by several": (
        [(2, 3, 9, 9)],
        convolution("d", "a", 8, "kernel_h: 5 kernel_w: 3 pad_h: 4") + product("c", "p"),
    ),
    "put together": ([(2, 8, 9, 9), (2, 8, 9, 9)], layer("Concat", "a b c a", "s")),
    "passed on": ([(2, 8, 9, 9)], layer("Dropout", "a", "s")),
}


@pytest.mark.parametrize("how", INPUTS_READ)
def test_inputs_are_read_in_all_ways(how: str) -> None:
    shapes, others = INPUTS_READ[how]
    outputs = shapes[-1][1] if "added" in how else 8
    text = inputs(*shapes) + convolution("c", "a", outputs, "kernel_size: 3 pad: 1") + others
    assert_its_blobs(caffe.Net(text, caffe.TEST))


@pytest.mark.parametrize("shape", [(16,), (2, 8, 4), (2, 2, 2, 2, 2)])
def test_an_input_may_have_been_made_with_any_axes(shape: tuple[int, ...]) -> None:
    text = inputs(shape) + layer("TanH", "a", "t") + reshaped("t", "r", 2, -1) + product("r", "p")
    assert_its_blobs(caffe.Net(text, caffe.TEST))


@pytest.mark.parametrize("shape", [(2, 32, 2, 2), (4, 4, 4, 4), (2, 128, 1, 1), (2, 2, 8, 8)])
@pytest.mark.parametrize(
    "others",
    [
        convolution("e", "r", 8, "kernel_size: 1"),
        layer("Dropout", "r", "d") + convolution("e", "d", 8, "kernel_size: 1"),
    ],
)
def test_numbers_keep_their_order_in_another_shape(shape: tuple[int, ...], others: str) -> None:
    text = inputs((2, 8, 4, 4)) + convolution("c", "a", 8, "kernel_size: 1")
    assert_its_blobs(caffe.Net(text + reshaped("c", "r", *shape) + others, caffe.TEST))


def test_rows_become_pictures() -> None:
    text = inputs((2, 8)) + product("a", "p") + reshaped("p", "r", 2, 2, 2, 2)
    text += convolution("e", "r", 8, "kernel_size: 2")
    assert_its_blobs(caffe.Net(text, caffe.TEST))


def test_flat_pictures_are_put_together() -> None:
    text = inputs((3, 8, 4, 4)) + "".join(
        convolution(name, "a", outputs, "kernel_size: 1") + layer("Flatten", name, f"{name}flat")
        for name, outputs in (("c", 8), ("d", 4))
    )
    assert_its_blobs(
        caffe.Net(text + layer("Concat", "cflat dflat", "s") + product("s", "p"), caffe.TEST)
    )


@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("size", [(6, 2), (2, 6)])
def test_windows_may_be_larger_than_pictures(channels: int, size: tuple[int, int]) -> None:
    text = inputs((2, channels, *size)) + convolution("c", "a", 4, "kernel_size: 5 stride: 7")
    assert_its_blobs(caffe.Net(text, caffe.TEST))


def test_what_is_changed_in_its_place_is_no_part_of_another() -> None:
    text = inputs((2, 8, 4, 4)) + "".join(
        convolution(name, "a", 8, "kernel_size: 1") for name in "cd"
    )
    text += layer("Concat", "c d", "s") + layer("MVN", "s", "before") + reshaped("c", "r", 2, 8, 16)
    text += layer("ReLU", "r", "r").replace('name: "r"', "name: 'relu'") + layer(
        "MVN", "s", "after"
    )
    net = caffe.Net(text, caffe.TEST)
    net.blobs["a"].data[...] = np.random.default_rng(0).normal(size=(2, 8, 4, 4))
    for _ in range(2):
        found = net.forward()
        np.testing.assert_array_equal(found["before"], found["after"])


@pytest.mark.parametrize("size", [7, 15, 31])
def test_sums_of_many_channels_have_nothing_but_these(size: int) -> None:
    # Where threads lay their squares there is something now.
    many = torch.full((100, 8192), 1e10)
    Normalizing(5, 1.0, 1.0, 8192)(many, torch.empty_like(many))
    how = f"lrn_param {{ local_size: {size} alpha: 5 }}"
    assert_its_blobs(caffe.Net(inputs((2, 4, 5, 5)) + layer("LRN", "a", "l", how), caffe.TEST))


@pytest.mark.parametrize("number", [2, 20])
def test_numbers_are_float32_whatever_pytorch_makes(number: int) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        text = inputs((number, 3, 9, 9)) + convolution("c", "a", 16, "kernel_size: 3 pad: 1")
        text += convolution("d", "c", 16, "kernel_size: 3") + layer("TanH", "d", "t")
        text += layer("BatchNorm", "t", "n") + layer("LRN", "n", "l") + product("l", "p")
        assert_its_blobs(caffe.Net(text, caffe.TEST))
    finally:
        torch.set_default_dtype(torch.float32)


RESIDUAL = (
    inputs((2, 8, 9, 9))
    + convolution("stem", "a", 32, "kernel_size: 3")
    + convolution("left", "stem", 48, "kernel_size: 1")
    + convolution("middle", "stem", 16, "kernel_size: 3 pad: 1")
    + """
layer { name: "relu" type: "ReLU" bottom: "middle" top: "middle"
        relu_param { negative_slope: 0.1 } }
"""
    + convolution("right", "middle", 48, "kernel_size: 3 pad: 1")
    + """
layer { name: "norm" type: "BatchNorm" bottom: "right" top: "right" }
layer { name: "scale" type: "Scale" bottom: "right" top: "right" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
layer { name: "after" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "both" type: "Concat" bottom: "sum" bottom: "stem_pool" bottom: "sum" top: "both" }
layer { name: "most" type: "Eltwise" bottom: "left" bottom: "sum" top: "most"
        eltwise_param { operation: MAX } }
layer { name: "all" type: "Concat" bottom: "both" bottom: "most" top: "all" }
layer { name: "lrn" type: "LRN" bottom: "all" top: "lrn" lrn_param { alpha: 0.5 } }
layer { name: "ip" type: "InnerProduct" bottom: "lrn" top: "ip" inner_product_param {
        num_output: 40 weight_filler { type: "gaussian" std: 0.02 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
).replace(
    'layer { name: "both"',
    """layer { name: "stem_pool" type: "Pooling" bottom: "stem" top: "stem_pool"
        pooling_param { kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "both\"""",
)


def residual() -> caffe.Net:
    caffe.set_random_seed(1)
    net = caffe.Net(RESIDUAL, caffe.TEST)
    rng = np.random.default_rng(1)
    for name, shift in (("norm", 1), ("scale", 0)):
        for blob in net.params[name]:
            blob.data[...] = shift + rng.random(blob.data.shape)
    return net


def test_sums_and_values_put_together() -> None:
    assert_its_blobs(residual())


@pytest.mark.parametrize("wanted", ["left", "right", "sum", "both", "most", "stem"])
def test_what_is_asked_for_on_the_way_is_what_the_layers_make(wanted: str) -> None:
    net = residual()
    given = np.random.default_rng(0).normal(size=(2, 8, 9, 9))
    held = net.blobs[wanted].data
    for _ in range(3):
        net.forward(a=given)
    found = {name: net.blobs[name].data.copy() for name in (wanted, "prob")}
    assert held is not None
    caffe.set_engine("layerwise")
    net.forward(a=given)
    for name, values in found.items():
        expected = net.blobs[name].data
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=2e-5 * abs(expected).max())


def test_small_tiles_lose_fewer_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    # It is tiles that are compared, whatever takes less time at the moment.
    monkeypatch.setattr(llvm_nodes, "CLEAR", 1.0)
    text = inputs((1, 64, 56, 56)) + convolution("conv", "a", 64, "kernel_size: 3 pad: 1")
    net = caffe.Net(text, caffe.TEST)
    net.blobs["a"].data[...] = np.random.default_rng(0).normal(size=(1, 64, 56, 56))
    caffe.set_engine("layerwise")
    expected = torch.from_numpy(net.forward()["conv"].copy())
    caffe.set_engine("llvm")
    net.forward()
    (choice,) = choices_of(net)
    (key,) = choice.compiled.outputs
    usual = LLVM(torch.float32)
    assert usual.gentler is not None
    errors = []
    for backend in (usual, usual.gentler):
        made = backend.compile(choice._operations, choice.compiled.inputs, [key])
        assert made.take(choice.compiled.inputs)
        errors.append(float((made.run()[key] - expected).abs().max() / expected.abs().max()))
    assert errors[1] < errors[0] < 2e-5


def test_weights_that_change_are_heeded() -> None:
    net = residual()
    assert_its_blobs(net)
    net.params["scale"][0].data[...] *= -3
    assert_its_blobs(net)


def test_not_a_number_stays_one() -> None:
    net = residual()
    net.forward()
    net.blobs["a"].data[0, 0, 4, 4] = np.nan
    net.forward()
    found = net.blobs["prob"].data.copy()
    caffe.set_engine("layerwise")
    net.forward()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(net.blobs["prob"].data))
    assert np.isnan(found).any()


@pytest.mark.parametrize(
    "activation",
    [
        'type: "ReLU"',
        'type: "ReLU" relu_param { negative_slope: 0.1 }',
        'type: "ReLU6"',
        'type: "Clip" clip_param { min: -1 max: 1 }',
    ],
)
@pytest.mark.parametrize(
    # Winograd's algorithm may sum up to something infinite instead.
    "how",
    ["kernel_size: 1", "kernel_size: 3 pad: 1 stride: 2", "group: 16 kernel_size: 3"],
)
def test_not_a_number_stays_one_behind_an_activation(activation: str, how: str) -> None:
    net = caffe.Net(
        inputs((1, 16, 6, 6))
        + convolution("first", "a", 16, "kernel_size: 1")
        + convolution("conv", "first", 16, how)
        + f'layer {{ name: "after" bottom: "conv" top: "after" {activation} }}',
        caffe.TEST,
    )
    net.params["first"][0].data[...] *= 100
    assert_its_blobs(net)
    # Infinite numbers of both signs are summed.
    net.blobs["a"].data[0, 0, 4, 3:5] = 1e38
    found = net.forward()["after"].copy()
    caffe.set_engine("layerwise")
    net.forward()
    expected = np.isnan(net.blobs["conv"].data)
    assert expected.any()
    np.testing.assert_array_equal(np.isnan(found), expected)


@pytest.mark.parametrize("factor", [1.0, 1e19])
@pytest.mark.filterwarnings("error")
def test_sums_of_tiles_that_are_infinite(factor: float) -> None:
    how = "kernel_size: 3 pad: 1"
    net = caffe.Net(
        inputs((1, 64, 24, 24))
        + convolution("first", "a", 64, "kernel_size: 1")
        + convolution("conv", "first", 64, how),
        caffe.TEST,
    )
    net.params["first"][0].data[...] = factor * np.eye(64).reshape(64, 64, 1, 1)
    net.params["conv"][0].data[...] *= 0.01
    signs = np.sign(np.random.default_rng(0).normal(size=(64, 24, 24)))
    net.blobs["a"].data[...] = 3e38 / factor * signs
    found = net.forward()["conv"].copy()
    caffe.set_engine("layerwise")
    expected = net.forward()["conv"]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("threads", [1, 3, 7])
def test_any_number_of_threads_computes_the_same(threads: int) -> None:
    before = torch.get_num_threads()
    net = residual()
    net.blobs["a"].data[...] = np.random.default_rng(0).normal(size=(2, 8, 9, 9))
    expected = net.forward()["prob"].copy()
    try:
        # As many as it was made for, and then others.
        torch.set_num_threads(threads)
        np.testing.assert_allclose(net.forward()["prob"], expected, rtol=1e-5)
        other = residual()
        other.blobs["a"].data[...] = net.blobs["a"].data
        np.testing.assert_allclose(other.forward()["prob"], expected, rtol=1e-5)
        torch.set_num_threads(5)
        np.testing.assert_allclose(other.forward()["prob"], expected, rtol=1e-5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")
def test_what_was_compiled_before_is_freed() -> None:
    net = caffe.Net(
        inputs((1, 512, 4, 4)) + convolution("conv", "a", 512, "kernel_size: 3 pad: 1"), caffe.TEST
    )
    net.forward()
    pages = []
    for height in [9, 10] * 8:
        net.blobs["a"].reshape(1, 512, height, 4)
        net.forward()
        pages.append(int(STATM.read_text().split()[1]))
    # The weights alone are 9 MB, in the other form 38.
    assert (pages[-1] - pages[7]) * os.sysconf("SC_PAGE_SIZE") < 60e6


def test_nets_of_several_threads_run_side_by_side() -> None:
    expected = residual().forward()["prob"].copy()

    def run(_: int) -> np.ndarray:
        caffe.set_engine("llvm")
        net = residual()
        return next(net.forward()["prob"].copy() for _ in range(3))

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, range(8)):
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_it_is_refused_where_nothing_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llvm, "width", lambda: 0)
    with pytest.raises(caffe.CaffeError, match="no kernels can be compiled here"):
        caffe.set_engine("llvm")
