"""A bias, a sum and an activation in one pass mean what PyTorch's operations mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import caffe
from caffe.engine.plan import ways
from caffe.gpu import finishing
from caffe.gpu.finishing import finish
from caffe.layers.layer import Activation
from tests.helpers.gpu_code import assert_compiles
from tests.helpers.second_store import CountingStore, use_store

LAYOUTS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(2, 7, 5, 6), (1, 1, 3, 3), (3, 300, 1, 2), (2, 8, 20, 40)]
ENDS = [(1.0,), (0.0,), (0.25,), (0.0, 0.0, 6.0), (1.0, -2.0, 1.5)]

pytestmark = pytest.mark.usefixtures("interpreted")


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(3 * np.random.default_rng(seed).normal(size=shape)).float()


def expected(z: torch.Tensor, slope: float, least: float, most: float) -> torch.Tensor:
    return torch.where(z < 0, slope * z, z).clamp(least, most)


@pytest.mark.parametrize("has_other", [False, True])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_those_of_one_operation_after_the_other(
    shape: tuple[int, ...], layout: torch.memory_format, end: tuple[float, ...], has_other: bool
) -> None:
    y, bias = values(*shape).contiguous(memory_format=layout), values(shape[1], seed=1)
    other = values(*shape, seed=2).contiguous(memory_format=layout) if has_other else None
    activation = Activation(*end)
    z = y + bias[:, None, None] + (0 if other is None else other)
    wanted = expected(z, activation.slope, activation.least, activation.most)
    found = finish(y, bias, other, *end)
    assert found is y
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


# Triton's interpreter cuts bfloat16 off where a GPU rounds.
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float16, 0), (torch.bfloat16, 2**-7)])
def test_short_numbers_are_added_up_in_float32(kind: torch.dtype, tolerance: float) -> None:
    y, bias, other = (values(*shape).to(kind) for shape in ((2, 9, 4, 4), (9,), (2, 9, 4, 4)))
    wanted = (y.float() + bias.float()[:, None, None] + other.float()).relu().to(kind)
    torch.testing.assert_close(finish(y, bias, other, 0.0), wanted, rtol=tolerance, atol=0)


# Triton's interpreter computes by numpy, which tells of it.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("end", ENDS)
def test_what_is_no_number_stays_and_infinities_are_held(end: tuple[float, ...]) -> None:
    y = torch.tensor([math.nan, math.inf, -math.inf, 1.0]).view(1, 1, 2, 2)
    activation = Activation(*end)
    wanted = expected(y, activation.slope, activation.least, activation.most)
    if activation.slope == 0:
        wanted[0, 0, 1, 0] = max(0.0, activation.least)
    found = finish(y.clone(), torch.zeros(1), None, *end)
    torch.testing.assert_close(found, wanted, equal_nan=True)


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 4, 20, 16] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2
                            weight_filler { type: "msra" } bias_filler { type: "gaussian" } } }
layer { name: "relu6" type: "ReLU6" bottom: "conv" top: "conv" }
layer { name: "side" type: "Convolution" bottom: "conv" top: "side"
        convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "msra" }
                            bias_filler { type: "gaussian" } } }
layer { name: "sum" type: "Eltwise" bottom: "side" bottom: "conv" top: "sum" }
"""


def test_a_net_uses_it_where_it_works_and_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = np.random.default_rng(0).normal(size=(2, 4, 20, 16)).astype(np.float32)
    caffe.set_random_seed(3)
    net = caffe.Net(NET, caffe.TEST)
    caffe.set_engine("layerwise")
    net.forward(data=pictures)
    wanted = {name: blob.data.copy() for name, blob in net.blobs.items()}
    caffe.set_engine("auto")
    monkeypatch.setattr(finishing, "takes", lambda y: True)
    monkeypatch.setattr(ways, "has_ways", lambda store: True)
    monkeypatch.setattr(ways, "WORTH", math.inf)
    use_store(CountingStore())
    try:
        for _ in range(7):
            net.forward(data=pictures)
        for name, array in wanted.items():
            np.testing.assert_allclose(net.blobs[name].data, array, atol=1e-5)
        said = dict(zip(net._layer_names, net.explain(), strict=True))
        assert "finished in one pass: " in said["conv"]
        assert "finished in one pass: " in said["side"]
    finally:
        caffe.set_mode_cpu()


def test_the_cpu_has_none() -> None:
    assert not finishing.takes(torch.ones(1, 2, 1, 1))


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("kind", ["fp16", "fp32"])
def test_a_gpu_gets_code_that_reads_sixteen_bytes_at_once(is_first: bool, kind: str) -> None:
    types = dict.fromkeys(("y", "bias", "other"), f"*{kind}")
    types |= dict.fromkeys(("slope", "least", "most"), "fp32")
    constants = {
        "is_first": is_first,
        "has_other": True,
        "has_slope": True,
        "is_relu": False,
        "has_bounds": True,
        "high": 16,
        "wide": 256,
    }
    assert_compiles(finishing, "_finish", types, constants)
