"""Input, DummyData, Parameter and Silence."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError


def dummy_net(settings: str, tops: int = 1) -> caffe.Net:
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    return caffe.Net(
        f'layer {{ name: "dummy" type: "DummyData" {names} dummy_data_param {{ {settings} }} }}',
        caffe.TEST,
    )


def test_one_input_shape_serves_all_tops() -> None:
    text = 'layer { name: "in" type: "Input" top: "a" top: "b" input_param { %s } }'
    net = caffe.Net(text % "shape { dim: 2 dim: 3 }", caffe.TEST)
    assert [net.blobs[name].shape for name in "ab"] == [(2, 3), (2, 3)]
    net = caffe.Net(text % "shape { dim: 2 } shape { dim: 4 dim: 5 }", caffe.TEST)
    assert [net.blobs[name].shape for name in "ab"] == [(2,), (4, 5)]
    with pytest.raises(CaffeError, match=r"'in' \(Input\).*shape"):
        caffe.Net(text % "shape { } shape { } shape { }", caffe.TEST)


def test_dummy_data_fills_constants_once_and_the_rest_each_time() -> None:
    net = dummy_net(
        """shape { dim: 2 dim: 3 }
        data_filler { type: "constant" value: 7 } data_filler { type: "uniform" min: 1 max: 2 }""",
        tops=2,
    )
    np.testing.assert_array_equal(net.blobs["t0"].data, 7)
    net.blobs["t0"].data[...] = 8
    net.forward()
    first = net.blobs["t1"].data.copy()
    assert ((first >= 1) & (first <= 2)).all()
    net.forward()
    np.testing.assert_array_equal(net.blobs["t0"].data, 8)
    assert (net.blobs["t1"].data != first).any()


def test_dummy_data_in_four_old_numbers() -> None:
    net = dummy_net("num: 2 num: 5 channels: 3 height: 4 width: 1", tops=2)
    assert [net.blobs[f"t{i}"].shape for i in range(2)] == [(2, 3, 4, 1), (5, 3, 4, 1)]
    np.testing.assert_array_equal(net.blobs["t0"].data, 0)


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "num: 1 channels: 1 height: 1",
        "shape { dim: 1 } num: 1 channels: 1 height: 1 width: 1",
        "shape { dim: 1 } shape { dim: 1 }",
        'shape { dim: 1 } data_filler { type: "constant" } data_filler { type: "constant" }',
        'shape { dim: 1 } data_filler { type: "no such" }',
    ],
)
def test_dummy_data_that_caffe_refuses(settings: str) -> None:
    with pytest.raises(CaffeError, match=r"'dummy' \(DummyData\)"):
        dummy_net(settings).forward()


def test_a_parameter_as_a_top_is_the_parameter() -> None:
    net = caffe.Net(
        """force_backward: true
        layer { name: "p" type: "Parameter" top: "p"
                   parameter_param { shape { dim: 2 dim: 2 } } }
        layer { name: "r" type: "Power" bottom: "p" top: "y" power_param { scale: 3 } }""",
        caffe.TEST,
    )
    net.params["p"][0].data[...] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(net.forward()["y"], [[3, 6], [9, 12]])
    net.blobs["y"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.params["p"][0].diff, 3)


def test_silence_keeps_a_blob_out_of_the_outputs() -> None:
    net = caffe.Net(
        """layer { name: "x" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 } } }
        layer { name: "s" type: "Silence" bottom: "a" }""",
        caffe.TEST,
    )
    assert net.outputs == ["b"]
    net.forward()
