"""MNN means what the layers mean."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from torch.nn import functional as F

import caffe
from tests.helpers.plans import assert_the_layers_blobs, choices_of, run_by
from tests.helpers.translated import LAYERS, SEVERAL, inputs, joined, one_layer, several

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
    net = one_layer(name, in_place)
    if net is None:
        return
    assert_its_blobs(net)
    net.forward()
    said = net.explain()[-1]
    if name not in ("Flatten", "Reshape"):
        assert said.endswith(f"not by MNN: {LEFT[name]}" if name in LEFT else "run by MNN")


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_several_bottoms_or_tops(name: str) -> None:
    net = several(name)
    assert_its_blobs(net)
    net.forward()
    said = net.explain()[-1]
    assert said.endswith(f"not by MNN: {LEFT[name]}" if name in LEFT else "run by MNN")


def test_what_it_has_no_form_for_stays_with_pytorch() -> None:
    net = joined()
    assert_its_blobs(net)
    assert len(choices_of(net)) == 2
    net.forward()
    assert net.explain()[10].endswith("not by MNN: no form for MNN is known for MVN")


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
