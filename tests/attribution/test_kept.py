"""A forward that is kept, beside what the functions compute anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import caffe
from caffe.attribution import KeptForward, grad_cam_map
from tests.helpers.serving import SMALL_NET


def small_net() -> caffe.Net:
    caffe.set_random_seed(1)
    net = caffe.Net(SMALL_NET, caffe.TEST)
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=(1, 3, 8, 8))
    return net


def test_each_layer_s_own_result_stays_until_the_next_picture() -> None:
    net = small_net()
    kept = KeptForward(net)
    first = kept.run({"data": torch.from_numpy(net.blobs["data"].data.copy())})
    conv = net.forward(end="conv")["conv"].copy()
    assert np.allclose(first["conv"].numpy(), conv, atol=1e-5)
    assert np.allclose(first["relu"].numpy(), np.maximum(conv, 0), atol=1e-5)
    assert conv.min() < 0
    before = first["relu"].clone()
    second = kept.run({"data": torch.zeros(1, 3, 8, 8)})
    assert torch.equal(first["relu"], before)
    assert not torch.equal(second["relu"], before)


def test_grad_cam_from_there_is_that_of_the_function_for_every_class() -> None:
    net = small_net()
    kept = KeptForward(net)
    kept.run({"data": torch.from_numpy(net.blobs["data"].data.copy())})
    for index in (2, 0, 1, 2):
        layer, found = kept.grad_cam(index)
        assert layer == "relu"
        assert np.allclose(found, grad_cam_map(net, None, index), atol=1e-5)
    assert not np.allclose(kept.grad_cam(2, "conv")[1], found)


def test_grad_cam_at_once_is_that_of_a_forward_that_was_kept() -> None:
    net = small_net()
    kept, at_once = KeptForward(net), KeptForward(net)
    for scale in (1, -2):
        inputs = {"data": torch.from_numpy(net.blobs["data"].data * scale)}
        kept.run(inputs)
        for index in range(3):
            (layer, found), expected = at_once.grad_cam_at_once(inputs, index), kept.grad_cam(index)
            assert layer == expected[0]
            assert np.allclose(found, expected[1], atol=1e-5)
            assert found.any()


def test_a_net_without_an_output_is_looked_into_all_the_same() -> None:
    text = SMALL_NET + 'layer { name: "end" type: "Silence" bottom: "prob" }'
    kept = KeptForward(caffe.Net(text, caffe.TEST))
    assert "conv" in kept.run({"data": torch.zeros(1, 3, 8, 8)})
    with pytest.raises(caffe.CaffeError, match="no output"):
        kept.grad_cam(0)


def test_mistakes_are_told() -> None:
    kept = KeptForward(small_net())
    kept.run({"data": torch.zeros(1, 3, 8, 8)})
    for layer, said in (("none", "no layer"), ("fc", "does not come"), ("prob", "does not come")):
        with pytest.raises(caffe.CaffeError, match=said):
            kept.grad_cam(0, layer)
    with pytest.raises(caffe.CaffeError, match="no class 3"):
        kept.grad_cam(3)
