"""MNN means what the layers mean; the program's output stays its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from torch.nn import functional as F

import caffe
from caffe.engine.backends.choice import PATIENCE, TRIAL
from tests.helpers.plans import assert_the_layers_blobs, choices_of, run_by
from tests.helpers.translated import LAYERS, SEVERAL, TYPES, inputs

for module in ("MNN", "flatbuffers"):
    if importlib.util.find_spec(module) is None:
        pytest.skip("the extra mnn is not installed", allow_module_level=True)

LEFT = {
    "padded": "padding of its own for each side",
    "Deconvolution": "no form for MNN is known for Deconvolution",
    "grouped up": "no form for MNN is known for Deconvolution",
    "transposed": "its weights are transposed",
    "mean": "means of windows in the padding",
    "mean padded": "a last window is left out",
    "Normalize": "no form for MNN is known for Normalize",
    "whole": "no form for MNN is known for Normalize",
    "PReLU": "no form for MNN is known for PReLU",
    "one slope": "no form for MNN is known for PReLU",
    "TanH": "no form for MNN is known for TanH",
    "AbsVal": "no form for MNN is known for AbsVal",
    "Power": "no form for MNN is known for Power",
    "ShuffleChannel": "no form for MNN is known for ShuffleChannel",
    "sum": "factors",
    "axpy": "no form for MNN is known for Axpy",
    "priors": "no form for MNN is known for PriorBox",
}
"""What stays with PyTorch, and why."""

fixture = run_by("mnn")


def assert_its_blobs(net: caffe.Net) -> None:
    assert_the_layers_blobs(net, 2e-5)
    assert choices_of(net)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("in_place", [False, True])
def test_one_layer(name: str, in_place: bool) -> None:
    kind = TYPES.get(name, name)
    if in_place and (LAYERS[name] or kind in ("Flatten", "AbsVal")):
        return
    top = "a" if in_place else "layer"
    text = inputs((2, 6, 11, 10)).replace("'a'", "'x'") + (
        "layer { name: 'head' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { "
        "num_output: 6 kernel_size: 1 weight_filler { type: 'msra' } } }\n"
        f"layer {{ name: 'layer' type: '{kind}' bottom: 'a' top: '{top}' {LAYERS[name]} }}"
    )
    net = caffe.Net(text, caffe.TEST)
    if kind == "BatchNorm":
        for blob, value in zip(net.params["layer"], (0.5, 2, 2), strict=True):
            blob.data[...] = value
    assert_its_blobs(net)
    net.forward()
    said = net.explain()[-1]
    if kind not in ("Flatten", "Reshape"):
        assert said.endswith(f"not by MNN: {LEFT[name]}" if name in LEFT else "run by MNN")


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_several_bottoms_or_tops(name: str) -> None:
    shape = (2, 6, 4, 5)
    text = inputs(shape, shape, *([(2, 6)] if name == "axpy" else []))
    text += f"layer {{ name: 'x' type: 'ReLU' bottom: 'a' top: 'x' }} layer {{ name: '{name}' "
    net = caffe.Net(f"{text} top: '{name}' {SEVERAL[name]} }}", caffe.TEST)
    assert_its_blobs(net)
    net.forward()
    said = net.explain()[-1]
    assert said.endswith(f"not by MNN: {LEFT[name]}" if name in LEFT else "run by MNN")


NET = (
    inputs((2, 3, 16, 16))
    + """
layer { name: "conv" type: "Convolution" bottom: "a" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true
        filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "side" type: "Convolution" bottom: "conv" top: "side"
        convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "side" top: "side" }
layer { name: "sum" type: "Eltwise" bottom: "side" bottom: "conv" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "mvn" type: "MVN" bottom: "sum" top: "mvn" }
layer { name: "fc" type: "InnerProduct" bottom: "mvn" top: "fc"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "clip" type: "Clip" bottom: "fc" top: "fc" clip_param { min: -0.1 max: 6 } }
"""
)
PICTURES = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)


def a_net() -> caffe.Net:
    net = caffe.Net(NET, caffe.TEST)
    for name in ("bn", "bn2"):
        for blob, value in zip(net.params[name], (0.5, 2, 2), strict=True):
            blob.data[...] = value
    return net


def test_what_it_has_no_form_for_stays_with_pytorch() -> None:
    net = a_net()
    assert_its_blobs(net)
    assert len(choices_of(net)) == 2
    net.forward()
    assert net.explain()[10].endswith("not by MNN: no form for MNN is known for MVN")


def test_new_weights_and_what_is_no_number_are_computed_as_by_the_layers() -> None:
    net = a_net()
    net.forward(a=PICTURES)
    net.params["conv"][0].data[...] *= -2
    assert_its_blobs(net)
    odd = PICTURES.copy()
    odd[0, 1, 3, 3] = np.nan
    found = net.forward(a=odd)["fc"].copy()
    caffe.set_engine("layerwise")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(net.forward(a=odd)["fc"]))
    assert np.isnan(found).any()


@pytest.mark.usefixtures("try_small_nets")
def test_auto_tries_it_and_keeps_the_values() -> None:
    net = a_net()
    expected = net.forward(a=PICTURES)["fc"].copy()
    for _ in range(PATIENCE + 2 * TRIAL):
        found = net.forward(a=PICTURES)["fc"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert "MNN" in net.explain()[1]


LARGE = (
    inputs((1, 16, 48, 48))
    + """
layer { name: "conv" type: "Convolution" bottom: "a" top: "conv" convolution_param {
        num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 1 } } }
"""
)


def test_the_gentler_way_rounds_off_less() -> None:
    net = caffe.Net(LARGE, caffe.TEST)
    net.blobs["a"].data[...] = np.random.default_rng(0).normal(size=(1, 16, 48, 48))
    net.forward()
    (choice,) = choices_of(net)
    assert choice.chosen is not None
    gentler = choice.chosen.gentler
    assert gentler is not None
    assert gentler.gentler is None
    expected = net.blobs["a"].data_tensor().double()
    weight, bias = (blob.data_tensor().double() for blob in net.params["conv"])
    expected = F.conv2d(expected, weight, bias, padding=1)
    errors = []
    for backend in (choice.chosen, gentler):
        made = choice.compiled
        assert made is not None
        again = backend.compile(choice._operations, dict(made.inputs), made.outputs)
        assert again.take(dict(made.inputs))
        (found,) = again.run().values()
        errors.append(float((found - expected).abs().amax() / expected.abs().amax()))
    assert errors[1] < errors[0] / 2
    assert errors[1] < 2e-6


PROGRAM = f"""
import importlib.util
import os
import caffe
caffe.set_engine("mnn")
net = caffe.Net('''{NET}''', caffe.TEST)
print("before")
net.forward()
print("run by MNN" in net.explain()[1])
if hasattr(os, "fork"):
    child = os.fork()
    if not child:
        import warnings
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            net.forward()
        assert "MNN cannot run in a process that was forked" in str(told[0].message)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("after")
"""


def test_the_programs_output_is_its_own_and_a_fork_does_without() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120,
        env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["before", "True", "after"]
