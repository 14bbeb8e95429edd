"""The state of a thread: in what it computes, and what this machine refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe import mode
from caffe.errors import CaffeError
from tests.helpers.running import feed, layer_net

SETTINGS = 'convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } }'


@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_short_precision_comes_near_float32_or_is_refused_with_a_way_out(precision: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 9, 9))
    net = layer_net(f'type: "Convolution" {SETTINGS}', [x.shape])
    expected = feed(net, x)[0].copy()
    try:
        caffe.set_precision(precision)
    except CaffeError as refused:
        # What the refusal advises can be had, and nothing has changed.
        assert mode.precision() == torch.float32
        for other in str(refused).partition("; use ")[2].split(" or "):
            caffe.set_precision(other)
            assert mode.precision() == getattr(torch, other)
        caffe.set_precision("float32")
        np.testing.assert_array_equal(feed(net, x)[0], expected)
        return
    try:
        found = feed(net, x)[0]
    finally:
        caffe.set_precision("float32")
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
