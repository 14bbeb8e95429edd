"""A name that a net has not is told with the one that was meant; to programs it is a KeyError."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import caffe

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "fc8" type: "InnerProduct" bottom: "data" top: "fc8"
        inner_product_param { num_output: 2 } }
layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }
"""


@pytest.fixture
def net() -> caffe.Net:
    return caffe.Net(NET, caffe.TEST)


def test_the_name_that_was_meant_is_told(net: caffe.Net) -> None:
    parts = {
        "blob 'prb'; did you mean 'prob'": lambda: net.blobs["prb"],
        "layer with parameters 'fc7'; did you mean 'fc8'": lambda: net.params["fc7"],
        "layer 'porb'; did you mean 'prob'": lambda: net.layer_dict["porb"],
        "layer 'fc'; did you mean 'fc8'": lambda: net.top_names["fc"],
        "blob 3; it has 'data', 'fc8', 'prob'": lambda: net.blobs[3],
        "this run returned no blob 'prb'; did you mean 'prob'": lambda: net.forward()["prb"],
        "another is asked for by blobs=": lambda: net.forward_all(data=np.ones((2, 3)))["fc8"],
    }
    for said, ask in parts.items():
        with pytest.raises(KeyError) as caught:
            ask()
        assert isinstance(caught.value, caffe.CaffeError)
        assert said in str(caught.value)


def test_programs_that_ask_first_get_what_they_always_got(net: caffe.Net) -> None:
    assert "prb" not in net.blobs
    assert net.blobs.get("prb") is None
    assert net.params.get("prob", 7) == 7
    assert isinstance(net.blobs, OrderedDict)
    assert repr(net.top_names) == repr(OrderedDict(net.top_names))
    assert repr(net.forward()).startswith("{'prob': ")


def test_they_are_copied_as_what_they_are(net: caffe.Net) -> None:
    for copied in (net.top_names.copy(), copy.deepcopy(net.top_names)):
        assert copied == net.top_names
        with pytest.raises(KeyError, match="no layer 'x'"):
            copied["x"]
    assert pickle.loads(pickle.dumps(net.top_names)) == net.top_names
