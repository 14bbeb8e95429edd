"""Nets are of float32, whatever type PyTorch gives its tensors by default."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import caffe
from caffe import onednn
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.text import parse_text
from tests.helpers.translated import LAYERS, SEVERAL, one_layer, several

TRAINED = """
layer { name: "d" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 dim: 5 }
        data_filler { type: "gaussian" } data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param {
        num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "drop" type: "Dropout" bottom: "norm" top: "drop" }
layer { name: "up" type: "Deconvolution" bottom: "drop" top: "up" convolution_param {
        num_output: 6 kernel_size: 4 group: 6 weight_filler { type: "bilinear" } } }
layer { name: "y" type: "InnerProduct" bottom: "up" top: "y" inner_product_param {
        num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
METHODS = ["SGD", "Nesterov", "Adam", "AdaDelta", "RMSProp"]


@pytest.fixture
def doubles() -> Iterator[None]:
    """What a person may have asked of PyTorch."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(params=["layerwise", "torch", "onednn", "openvino"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    if request.param == "onednn" and not onednn.joins_graphs():
        pytest.skip("this PyTorch hands no graphs to oneDNN")
    caffe.set_random_seed(3)
    caffe.set_engine(request.param)
    yield request.param
    caffe.set_engine("auto")


def found(net: caffe.Net) -> dict[str, np.ndarray]:
    """Every blob's numbers."""
    rng = np.random.default_rng(0)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    net.forward()
    return {name: blob.data.copy() for name, blob in net.blobs.items()}


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("name", [*LAYERS, *SEVERAL])
def test_a_net_of_one_layer(name: str, engine: str) -> None:
    net = one_layer(name, in_place=False) if name in LAYERS else several(name)
    assert net is not None
    blobs = found(net)
    numbers = {layer: [blob.data.copy() for blob in held] for layer, held in net.params.items()}
    torch.set_default_dtype(torch.float32)
    other = one_layer(name, in_place=False) if name in LAYERS else several(name)
    assert other is not None
    for layer, held in other.params.items():
        for blob, values in zip(held, numbers[layer], strict=True):
            assert values.dtype == np.float32
            blob.data[...] = values
    for blob_name, wanted in found(other).items():
        assert blobs[blob_name].dtype == np.float32
        np.testing.assert_array_equal(blobs[blob_name], wanted)


def learned(method: str) -> list[np.ndarray]:
    more = "momentum: 0.9" if method in ("SGD", "Nesterov", "Adam") else "delta: 1e-6"
    text = f'type: "{method}" base_lr: 0.01 lr_policy: "fixed" {more} random_seed: 7'
    text += f" net_param {{ {TRAINED} }}"
    solver = caffe.get_solver(parse_text(text, SolverParameter()))
    solver.step(2)
    held = [blob for blobs in solver.net.params.values() for blob in blobs]
    return [values.copy() for blob in held for values in (blob.data, blob.diff)]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_learned(method: str, request: pytest.FixtureRequest) -> None:
    wanted = learned(method)
    request.getfixturevalue("doubles")
    for mine, theirs in zip(learned(method), wanted, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_array_equal(mine, theirs)
