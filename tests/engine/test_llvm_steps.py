"""Layers that compute some pictures at a time make what they make of all at once."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

import caffe
from caffe.compiled import llvm as compiler
from caffe.engine.backends import llvm_steps
from tests.helpers import kernels

pytestmark = pytest.mark.skipif(not compiler.width(), reason="no kernels can be compiled here")

NET = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 6 dim: 3 dim: 17 dim: 15 } } }
layer { name: "stem" type: "Convolution" bottom: "a" top: "stem" convolution_param {
        num_output: 24 kernel_size: 3 stride: 2 pad: 1 weight_filler { type: "msra" } } }
layer { name: "norm" type: "LRN" bottom: "stem" top: "norm" lrn_param { alpha: 0.5 } }
layer { name: "pool" type: "Pooling" bottom: "norm" top: "pool"
        pooling_param { kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "each" type: "Convolution" bottom: "pool" top: "each" convolution_param {
        num_output: 24 group: 24 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "each" top: "each" }
layer { name: "left" type: "Convolution" bottom: "each" top: "left" convolution_param {
        num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "right" type: "Convolution" bottom: "pool" top: "right" convolution_param {
        num_output: 32 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
layer { name: "both" type: "Concat" bottom: "sum" bottom: "pool" bottom: "right" top: "both" }
layer { name: "mean" type: "Pooling" bottom: "both" top: "mean"
        pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "mean" top: "ip" inner_product_param {
        num_output: 10 weight_filler { type: "gaussian" std: 0.02 } } }
"""


@pytest.fixture(params=[1, 20_000, 80_000])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So small a cache that a small net's pictures do not stay in it: 1, 2 and 3 at a time do."""
    monkeypatch.setattr(llvm_steps.caches, "second", lambda: request.param)
    monkeypatch.setattr(llvm_steps, "WEIGHTS", 1e9)


def forward(net: caffe.Net, engine: str, wanted: list[str]) -> dict[str, np.ndarray]:
    """What a net's blobs are, some of them held by somebody."""
    caffe.set_engine(engine)
    rng = np.random.default_rng(0)
    net.blobs["a"].data[...] = rng.normal(size=net.blobs["a"].shape)
    found = net.forward(blobs=wanted)
    return {name: values.copy() for name, values in found.items()}


@pytest.mark.parametrize("wanted", [[], ["stem"], ["pool", "sum"], ["both"]])
@pytest.mark.parametrize("pictures", [6, 7])
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.usefixtures("cache")
def test_values_are_those_of_all_pictures_at_once(
    wanted: list[str], pictures: int, workers: int
) -> None:
    net = caffe.Net(NET, caffe.TEST)
    net.blobs["a"].reshape(pictures, 3, 17, 15)
    with kernels.threads(workers):
        # Blobs are computed otherwise until they have been asked for twice.
        found, _, *others = (forward(net, "llvm", wanted) for _ in range(8))
    with kernels.threads(1):
        others.append(forward(net, "llvm", wanted))
    for other in others[1:]:
        # Threads that wrote over each other would not always do so alike.
        assert all(np.array_equal(others[0][name], values) for name, values in other.items())
    expected = forward(net, "layerwise", wanted)
    assert found.keys() == {"ip", *wanted}
    for name, values in expected.items():
        most = abs(values).max()
        for one in (found, others[0]):
            np.testing.assert_allclose(one[name], values, rtol=1e-4, atol=2e-5 * most)


def test_what_nobody_else_reads_takes_the_memory_of_a_few_pictures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    take = llvm_steps.Arena.take

    def noted(self: llvm_steps.Arena, count: int) -> Tensor:
        taken.append(count)
        return take(self, count)

    monkeypatch.setattr(llvm_steps.Arena, "take", noted)
    monkeypatch.setattr(llvm_steps, "WEIGHTS", 1e9)
    sums = []
    for size in (2**30, 1):
        monkeypatch.setattr(llvm_steps.caches, "second", lambda size=size: size)
        forward(caffe.Net(NET, caffe.TEST), "llvm", [])
        sums.append(sum(taken))
        taken.clear()
    assert sums[1] < sums[0] / 2
