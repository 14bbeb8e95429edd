"""A net built beside another one: the same numbers, and the other left as it was."""

from __future__ import annotations

import numpy as np

import caffe
from caffe.net.beside import build_beside

NET = """
name: "both"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param {
        num_output: 4 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }
layer { name: "last" type: "InnerProduct" bottom: "fc" top: "last" inner_product_param {
        num_output: 2 weight_filler { type: "gaussian" std: 1 } } }
"""
DATA = np.arange(-3, 3, dtype=np.float32).reshape(2, 3)


def test_it_computes_the_same_and_leaves_the_first_nets_blobs() -> None:
    net = caffe.Net(NET, caffe.TEST)
    expected = net.forward(data=DATA)["last"].copy()
    beside = build_beside(net)
    assert beside.name == "both"
    assert np.array_equal(beside.forward(data=DATA)["last"], expected)
    beside.forward(data=DATA + 1)
    assert np.array_equal(net.blobs["last"].data, expected)


def test_a_parameter_written_in_one_is_seen_by_the_other() -> None:
    net = caffe.Net(NET, caffe.TEST)
    beside = build_beside(net)
    net.params["last"][0].data[...] = 0
    assert not beside.forward(data=DATA)["last"].any()


def test_a_net_that_trains_is_built_as_for_testing() -> None:
    net = caffe.Net(NET, caffe.TRAIN)
    results = [build_beside(net).forward(data=DATA)["last"].copy() for _ in range(2)]
    assert np.array_equal(*results)


def test_only_the_layers_asked_for_are_built() -> None:
    beside = build_beside(caffe.Net(NET, caffe.TEST), [0, 1])
    assert list(beside.layer_dict) == ["data", "fc"]
    assert beside.outputs == ["fc"]


def test_with_gradients_all_blobs_have_theirs_and_no_parameter() -> None:
    net = caffe.Net(NET, caffe.TEST)
    beside = build_beside(net, gradients=True)
    beside.forward(data=DATA)
    beside.blobs["last"].diff[...] = 1
    beside.backward()
    assert beside.blobs["data"].diff.any()
    # In place there would be one blob for three, and its values before the ReLU gone.
    names = list(beside.blobs)
    assert len([name for name in names if name.startswith("fc")]) == 3
    assert beside.blobs["fc (before layer 2)"].data.min() < 0 <= beside.blobs["fc"].data.min()
    assert not any(blob.diff.any() for blobs in beside.params.values() for blob in blobs)


def test_a_parameter_that_its_layer_changes_is_a_copy() -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "mem" type: "Python" bottom: "data" top: "mem"
            python_param { module: "tests.net.test_beside" layer: "Remembering" } }
    """
    net = caffe.Net(text, caffe.TEST)
    build_beside(net).forward(data=DATA)
    assert net.params["mem"][0].data.tolist() == [0]


class Remembering(caffe.Layer):  # type: ignore[misc]
    """Counts its forwards in its parameter."""

    def setup(self, bottom: object, top: object) -> None:
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 0

    def reshape(self, bottom: list[caffe.Blob], top: list[caffe.Blob]) -> None:
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom: list[caffe.Blob], top: list[caffe.Blob]) -> None:
        self.blobs[0].data[...] += 1
        top[0].data[...] = bottom[0].data

    def backward(self, top: object, propagate_down: object, bottom: object) -> None:
        pass
