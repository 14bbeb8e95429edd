"""What trains as one, and what is recorded, gives what each layer by itself would."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

import caffe
from caffe import mode

TEXT = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 4 dim: 3 dim: 9 dim: 9 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "NORMAL" }
layer { name: "scale" type: "Scale" bottom: "NORMAL" top: "NORMAL"
        scale_param { bias_term: true filler { type: "gaussian" mean: 1 std: 0.3 } } }
layer { name: "relu" type: "ReLU" bottom: "NORMAL" top: "NORMAL" }
layer { name: "lrn" type: "LRN" bottom: "NORMAL" top: "lrn" lrn_param { alpha: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "lrn" top: "pool"
        pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
TOPS = {"in place": "conv", "beside": "normal"}


@pytest.fixture(params=TOPS)
def net(request: pytest.FixtureRequest) -> caffe.Net:
    caffe.set_random_seed(1)
    made = caffe.Net(TEXT.replace("NORMAL", TOPS[request.param]), caffe.TRAIN)
    rng = np.random.default_rng(1)
    made.blobs["data"].data[...] = rng.normal(size=(4, 3, 9, 9))
    made.blobs["label"].data[...] = rng.integers(0, 5, 4)
    return made


def everything(net: caffe.Net) -> dict[str, np.ndarray]:
    """All values and gradients of a net."""
    found = {f"{name} data": blob.data.copy() for name, blob in net.blobs.items()}
    found |= {f"{name} diff": blob.diff.copy() for name, blob in net.blobs.items()}
    for name, blobs in net.params.items():
        for number, blob in enumerate(blobs):
            found |= {f"{name} {number} data": blob.data.copy()}
            found |= {f"{name} {number} diff": blob.diff.copy()}
    return found


def assert_same(net: caffe.Net, act: Callable[[caffe.Net], object]) -> None:
    """Let a net and its copy that runs layer by layer do the same."""
    twin = copy.deepcopy(net)
    act(net)
    caffe.set_engine("layerwise")
    try:
        act(twin)
    finally:
        caffe.set_engine("auto")
    wanted = everything(twin)
    for name, values in everything(net).items():
        least = 1e-6 * max(1, float(np.abs(wanted[name]).max()))
        np.testing.assert_allclose(values, wanted[name], rtol=1e-4, atol=least, err_msg=name)


def step(net: caffe.Net) -> None:
    net.clear_param_diffs()
    net.forward()
    net.backward()


def test_a_step_is_that_of_each_layer_by_itself(net: caffe.Net) -> None:
    assert_same(net, step)


def test_gradients_add_up_until_they_are_cleared(net: caffe.Net) -> None:
    def twice(net: caffe.Net) -> None:
        step(net)
        net.forward()
        net.backward()

    assert_same(net, twice)


def test_a_second_backward_needs_no_second_forward(net: caffe.Net) -> None:
    def act(net: caffe.Net) -> None:
        step(net)
        net.backward()

    assert_same(net, act)


def test_backward_may_be_of_a_part(net: caffe.Net) -> None:
    def act(net: caffe.Net) -> None:
        step(net)
        net.clear_param_diffs()
        net.backward(start="scale", end="bn")

    assert_same(net, act)


@pytest.mark.parametrize("name", ["data", "pool", "fc"])
def test_values_written_between_forward_and_backward_count(net: caffe.Net, name: str) -> None:
    def act(net: caffe.Net) -> None:
        net.clear_param_diffs()
        net.forward()
        net.blobs[name].data[...] *= 1.5
        net.backward()

    assert_same(net, act)


def test_weights_written_between_forward_and_backward_count(net: caffe.Net) -> None:
    def act(net: caffe.Net) -> None:
        net.clear_param_diffs()
        net.forward()
        net.params["scale"][0].data[...] *= -1
        net.backward()

    assert_same(net, act)


def test_arrays_that_are_held_show_each_step(net: caffe.Net) -> None:
    held = {name: (blob.data, blob.diff) for name, blob in net.blobs.items()}
    step(net)
    net.blobs["data"].data[...] *= 2
    step(net)
    for name, (data, diff) in held.items():
        np.testing.assert_array_equal(data, net.blobs[name].data, err_msg=name)
        np.testing.assert_array_equal(diff, net.blobs[name].diff, err_msg=name)
    del held, data, diff
    assert_same(net, step)


def test_a_copy_made_between_forward_and_backward_goes_on(net: caffe.Net) -> None:
    net.clear_param_diffs()
    net.forward()
    twin = copy.deepcopy(net)
    net.backward()
    twin.backward()
    wanted = everything(net)
    for name, values in everything(twin).items():
        np.testing.assert_allclose(values, wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_frozen_layers_run_by_a_plan() -> None:
    frozen = TEXT.replace("NORMAL", "conv")
    frozen = frozen.replace(
        'name: "conv" type', 'param { lr_mult: 0 } param { lr_mult: 0 } name: "conv" type'
    ).replace('type: "BatchNorm"', 'type: "BatchNorm" batch_norm_param { use_global_stats: true }')
    frozen = frozen.replace(
        'name: "scale" type', 'param { lr_mult: 0 } param { lr_mult: 0 } name: "scale" type'
    )
    caffe.set_random_seed(1)
    net = caffe.Net(frozen, caffe.TRAIN)
    net.params["bn"][1].data[...] = net.params["bn"][2].data[...] = 1
    net.blobs["data"].data[...] = np.random.default_rng(1).normal(size=(4, 3, 9, 9))
    assert_same(net, step)
    told = dict(zip(net._layer_names, net.explain(), strict=True))
    assert "by itself" not in told["conv"]
    assert "by itself" in told["fc"]
    assert not net.params["conv"][0].diff.any()
    assert net.params["fc"][0].diff.any()


def test_a_factor_in_place_on_the_input_is_no_pair() -> None:
    net = caffe.Net(
        """force_backward: true
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 1, 4] } } }
        layer { name: "bn" type: "BatchNorm" bottom: "data" top: "data" }
        layer { name: "tanh" type: "TanH" bottom: "data" top: "tanh" }""",
        caffe.TEST,
    )
    net.forward(data=np.ones((2, 1, 4)))
    net.backward()
    twin = copy.deepcopy(net)
    assert np.array_equal(twin.forward(data=np.ones((2, 1, 4)))["tanh"], net.forward()["tanh"])


@pytest.mark.parametrize("is_held", [False, True])
def test_a_layer_in_place_has_caffe_s_gradient_whoever_holds_its_blob(is_held: bool) -> None:
    net = caffe.Net(
        """force_backward: true
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 3 } } }
        layer { name: "bnll" type: "BNLL" bottom: "data" top: "data" }
        layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }
        """,
        caffe.TRAIN,
    )
    held = net.blobs["data"].data if is_held else None
    net.forward(data=np.array([-1, 0, 2], np.float32))
    top = net.blobs["data"].data.copy()
    net.blobs["twice"].diff[...] = 1
    net.backward()
    # Caffe's BNLL reads its bottom, which by then is its top.
    assert np.allclose(net.blobs["data"].diff, 2 / (1 + np.exp(-top)))
    assert held is None or np.array_equal(held, top)


# Training in bfloat16.


@pytest.fixture
def in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Choose a precision; this CPU may have no instructions for it, but can compute in it."""
    return lambda precision: monkeypatch.setattr(mode._state, "precision", precision)


def test_gradients_in_bfloat16_are_nearly_those_in_float32(
    net: caffe.Net, in_bfloat16: Callable[[str], None]
) -> None:
    twin = copy.deepcopy(net)
    in_bfloat16("bfloat16")
    for one in (net, twin):
        one.clear_param_diffs()
        one.forward()
        one.backward()
        in_bfloat16("float32")
    short, whole = everything(net), everything(twin)
    assert short.keys() == whole.keys()
    assert not np.array_equal(short["conv 0 diff"], whole["conv 0 diff"])
    # Behind the normalisation a bias changes nothing: its gradient is what rounding leaves.
    del whole["conv 1 diff"]
    for name, values in whole.items():
        off = np.linalg.norm(short[name] - values) / (np.linalg.norm(values) or 1)
        assert off < 0.03, name
    # What is short is so in the layers that only multiply and compare; what adds up much is not.
    for name, is_short in {"fc data": True, "pool data": True, "lrn data": False}.items():
        rounded = torch.from_numpy(short[name]).bfloat16().float().numpy()
        assert np.array_equal(short[name], rounded) == is_short, name
    assert short["loss data"] != torch.tensor(short["loss data"]).bfloat16().float().numpy()


def test_a_small_step_in_bfloat16_is_not_lost(in_bfloat16: Callable[[str], None]) -> None:
    text = TEXT.replace("NORMAL", "conv")
    solver = caffe.SGDSolver(f'base_lr: 1e-5 lr_policy: "fixed" net_param {{ {text} }}')
    net = solver.net
    net.blobs["data"].data[...] = np.random.default_rng(1).normal(size=(4, 3, 9, 9))
    before = net.params["conv"][0].data.copy()
    in_bfloat16("bfloat16")
    solver.step(3)
    moved = np.abs(net.params["conv"][0].data - before)
    # Of a bfloat16 it would be less than half a digit.
    assert 0 < moved.max() < np.abs(before).max() * 2**-9
    assert (moved > 0).mean() > 0.9
