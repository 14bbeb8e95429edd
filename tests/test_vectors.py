"""What a net's lists are: the vectors of pycaffe's compiled module."""

from __future__ import annotations

import copy

import pytest

import caffe
from caffe import _caffe
from caffe.layers.layer import Layer, register

TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" } } }
layer { name: "own" type: "Python" bottom: "ip" top: "own"
  python_param { module: "tests.test_vectors" layer: "Own" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "own" bottom: "ip" top: "loss" }
"""
SEEN = {}


class Own(caffe.Layer):
    """Keeps what it is given, and makes its parameters a plain list."""

    def setup(self, bottom, top):
        self.blobs = [caffe.Blob((1,))]

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        SEEN["forward"] = (type(bottom), type(top))

    def backward(self, top, propagate_down, bottom):
        SEEN["backward"] = type(propagate_down)


@pytest.mark.parametrize("made", [lambda net: net, copy.deepcopy])
def test_a_nets_lists_are_the_vectors_that_programs_ask_for(made):
    net = made(caffe.Net("force_backward: true" + TEXT, caffe.TEST))
    for params in net.params.values():
        assert type(params) is _caffe.BlobVec
    assert list(net.params) == ["ip", "own"]
    assert type(net.layers) is _caffe.LayerVec
    for layer in net.layers:
        assert type(layer.blobs) is _caffe.BlobVec
    assert net.params["own"] is net.layer_dict["own"].blobs
    assert type(net._blobs) is _caffe.BlobVec
    assert type(net._layer_names) is type(net._blob_names) is _caffe.StringVec
    assert type(net._inputs) is type(net._outputs) is type(net._bottom_ids(1)) is _caffe.IntVec
    assert type(net._blob_loss_weights) is _caffe.DtypeVec
    assert net._blob_loss_weights[-1] == 1
    assert type(caffe.layer_type_list()) is _caffe.StringVec
    net.forward()
    net.backward()
    assert {"forward": (_caffe.RawBlobVec,) * 2, "backward": _caffe.BoolVec} == SEEN


def test_vectors_are_filled_as_in_pycaffe():
    blobs = _caffe.BlobVec()
    blobs.add_blob(2, 3)
    blobs.append(caffe.Blob((1,)))
    blobs.extend([caffe.Blob()])
    assert [blob.shape for blob in blobs] == [(2, 3), (1,), ()]
    assert len(blobs) == 3


def test_what_a_net_has_is_read_and_not_replaced():
    net = caffe.Net(TEXT, caffe.TEST)
    assert isinstance(caffe.Net.blobs, property)
    with pytest.raises(AttributeError):
        net.blobs = {}
    with pytest.raises(AttributeError):
        net.params = {}


@pytest.mark.usefixtures("own_layers")
def test_a_layers_own_list_of_parameters_becomes_one_of_them():
    @register("KeepsAList")
    class KeepsAList(Layer):
        on_blobs = True

        def setup_blobs(self, bottoms, tops):
            self.blobs = [caffe.Blob((5,))]

        def reshape_blobs(self, bottoms, tops):
            tops[0].reshape(*bottoms[0].shape)

    text = TEXT.splitlines()[1] + 'layer { name: "k" type: "KeepsAList" bottom: "data" top: "k" }'
    net = caffe.Net(text, caffe.TEST)
    assert type(net.params["k"]) is _caffe.BlobVec
    assert net.params["k"][0].shape == (5,)


def test_a_layer_that_does_without_its_parents_init_has_parameters_all_the_same():
    class Terse(caffe.Layer):
        def __init__(self, *arguments):
            pass

    terse = Terse()
    terse.blobs.add_blob(2)
    assert [blob.shape for blob in terse.blobs] == [(2,)]
