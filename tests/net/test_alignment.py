"""Crop layers of 2015, whose texts leave their offsets to be worked out."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import caffe
from caffe.errors import CaffeWarning
from caffe.proto.files import read_net

# As FCN has it: a padding of 10 that nobody needs, a quarter of the size, and back.
FCN = """
input: "data" input_shape { dim: 1 dim: 1 dim: 24 dim: 20 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 1 kernel_size: 3 pad: 10 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { kernel_size: 4 stride: 4 } }
layer { name: "up" type: "Deconvolution" bottom: "pool" top: "up"
        convolution_param { num_output: 1 kernel_size: 8 stride: 4 } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "score" CROP }
"""


def test_an_offset_that_the_text_leaves_out_is_named() -> None:
    # Place 0 of conv is 9 before the picture; the kernel of 8 reaches 2 more to the left.
    with pytest.warns(CaffeWarning, match=r"'score' from 11, 11 on.*crop_param \{ offset") as said:
        net = caffe.Net(FCN.replace("CROP", ""), caffe.TEST)
    assert len(said) == 1
    assert tuple(net.blobs["score"].shape) == (1, 1, 24, 20)


@pytest.mark.parametrize(
    "text",
    [
        FCN.replace("CROP", "crop_param { axis: 2 }"),
        FCN.replace("CROP", "crop_param { offset: 11 }"),
        # The places lie on each other, or apart by halves of a place.
        FCN.replace("CROP", "")
        .replace("pad: 10", "pad: 1")
        .replace("kernel_size: 8", "pad: 2 kernel_size: 8"),
        FCN.replace("CROP", "").replace("kernel_size: 8", "kernel_size: 9"),
    ],
)
def test_nothing_is_said_where_there_is_nothing_to_say(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        caffe.Net(text, caffe.TEST)


@pytest.mark.parametrize("name", ["fcn8s", "fcn32s"])
def test_offsets_are_those_that_fcn_was_published_with(shared: Path, name: str) -> None:
    net = read_net(shared / "models" / name / "deploy.prototxt")
    published = {}
    for layer in net.layer:
        if layer.type == "Crop":
            published[layer.top[0]] = layer.crop_param.offset[0]
            layer.ClearField("crop_param")
    with pytest.warns(CaffeWarning) as said:
        caffe.Net(net, caffe.TEST)
    (text,) = (str(warning.message) for warning in said)
    assert published
    for top, offset in published.items():
        assert f"'{top}' from {offset}, {offset}" in text
