"""oneDNN's graph means what the layers mean."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from caffe import onednn
from tests.helpers.plans import assert_the_layers_blobs, choices_of, run_by
from tests.helpers.translated import LAYERS, SEVERAL, inputs, joined, one_layer, several

if not onednn.joins_graphs():
    pytest.skip("this PyTorch hands no graphs to oneDNN", allow_module_level=True)

fixture = run_by("onednn")

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
    assert net.explain()[10].endswith(
        "not by oneDNN's graph: no form for oneDNN's graph is known for MVN"
    )


FOLDED = (
    inputs((2, 8, 9, 9))
    + """
layer { name: "conv" type: "Convolution" bottom: "a" top: "conv" convolution_param {
        num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "scaled" type: "Scale" bottom: "conv" top: "conv" }
layer { name: "lrn" type: "LRN" bottom: "conv" top: "lrn" lrn_param { alpha: 0.5 beta: 0.6 } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "lrn" top: "sum" }
"""
)


def test_what_follows_a_convolution_in_place_is_folded_into_it() -> None:
    net = caffe.Net(FOLDED, caffe.TEST)
    rng = np.random.default_rng(1)
    for name, shift in (("norm", 1), ("scale", 0), ("scaled", 0)):
        for blob in net.params[name]:
            blob.data[...] = shift + rng.random(blob.data.shape)
    assert_its_blobs(net)


def test_weights_that_change_are_heeded() -> None:
    net = caffe.Net(FOLDED, caffe.TEST)
    assert_its_blobs(net)
    net.params["scaled"][0].data[...] *= -3
    assert_its_blobs(net)


def test_not_a_number_stays_one() -> None:
    net = caffe.Net(FOLDED, caffe.TEST)
    net.forward()
    net.blobs["a"].data[0, 0, 4, 4] = np.nan
    net.forward()
    found = net.blobs["sum"].data.copy()
    caffe.set_engine("layerwise")
    net.forward()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(net.blobs["sum"].data))
    assert np.isnan(found).any()


def test_other_peoples_recordings_stay_their_own() -> None:
    net = caffe.Net(FOLDED, caffe.TEST)
    net.forward()
    assert not torch.jit.onednn_fusion_enabled()


def test_what_onednn_has_laid_out_for_itself_alone_is_read_all_the_same() -> None:
    net = caffe.Net(
        inputs((4, 4, 2))
        + """
        layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
        layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "a" top: "sum"
                eltwise_param { coeff: 0.902 coeff: 0.57 } }
        layer { name: "one" type: "BatchNorm" bottom: "sum" top: "one" }
        layer { name: "two" type: "BatchNorm" bottom: "sum" top: "two"
                batch_norm_param { add_eps_before_sqrt: false } }
        """,
        caffe.TEST,
    )
    given = np.random.default_rng(0).normal(size=(4, 4, 2))
    found = {name: values.copy() for name, values in net.forward(a=given).items()}
    caffe.set_engine("layerwise")
    for name, values in net.forward(a=given).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5)


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")
def test_what_was_compiled_before_is_freed() -> None:
    net = caffe.Net(
        inputs((1, 512, 4, 4))
        + """layer { name: "conv" type: "Convolution" bottom: "a" top: "conv" convolution_param {
                    num_output: 512 kernel_size: 3 pad: 1 } }""",
        caffe.TEST,
    )
    net.forward()
    pages = []
    for height in range(5, 17):
        net.blobs["a"].reshape(1, 512, height, 4)
        net.forward()
        pages.append(int(STATM.read_text().split()[1]))
    # The weights alone are 9 MB.
    assert (pages[-1] - pages[3]) * os.sysconf("SC_PAGE_SIZE") < 40e6


def test_nets_of_several_threads_leave_pytorchs_settings_as_they_were() -> None:
    filters = list(warnings.filters)

    def run(_: int) -> None:
        caffe.set_engine("onednn")
        caffe.Net(FOLDED, caffe.TEST).forward()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(8)))
    assert not torch.jit.onednn_fusion_enabled()
    assert warnings.filters == filters


def test_the_same_bottom_several_times_ends_no_process() -> None:
    bottoms = "".join(f'bottom: "{name}" ' for name in ("a", "a", "b", "a"))
    net = caffe.Net(
        inputs((2, 4, 3, 3), (2, 4, 3, 3))
        + f'layer {{ name: "sum" type: "Eltwise" {bottoms} top: "sum" }}',
        caffe.TEST,
    )
    assert_its_blobs(net)
