"""The depthwise kernel means what a convolution means, run on the CPU by Triton's interpreter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import caffe
from caffe.engine.plan import ways
from caffe.gpu import depthwise
from tests.helpers.gpu_code import assert_compiles
from tests.helpers.second_store import CountingStore, use_store

LAST = torch.channels_last
CASES = [
    # Channels, height and width; kernel, stride, padding, dilation.
    ((24, 5, 9), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((5, 6, 7), (3, 2), (1, 2), (1, 1), (1, 1)),
    ((16, 8, 7), (5, 5), (2, 2), (2, 2), (1, 1)),
    ((12, 7, 8), (3, 3), (1, 1), (2, 2), (2, 2)),
    ((80, 3, 4), (1, 4), (2, 1), (0, 3), (1, 1)),
]
ENDS = [(1.0,), (0.0,), (0.25, -1.0, 2.0), (0.0, 0.0, 6.0)]

pytestmark = pytest.mark.usefixtures("interpreted")


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(2 * np.random.default_rng(seed).normal(size=shape)).float()


def expected(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, geometry: Any, end: tuple[float, ...]
) -> torch.Tensor:
    y = F.conv2d(x.double(), weight.double(), bias.double(), *geometry, x.shape[1])
    slope, least, most = (*end, -math.inf, math.inf)[:3]
    return (F.leaky_relu(y, slope) if slope else y.relu()).clamp(least, most)


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    # Triton's interpreter cuts bfloat16 off where a GPU rounds.
    [(torch.float32, 1e-6), (torch.float16, 2**-11), (torch.bfloat16, 2**-7)],
)
@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES)))
def test_values_are_a_convolutions(
    number: int, case: tuple[Any, ...], kind: torch.dtype, tolerance: float
) -> None:
    (channels, height, width), kernel, *geometry = case
    x = values(2, channels, height, width).to(kind).contiguous(memory_format=LAST)
    weight, bias = values(channels, 1, *kernel, seed=1).to(kind), values(channels, seed=2).to(kind)
    end = ENDS[number % len(ENDS)]
    found = depthwise.forward(x, depthwise.turned(weight), bias, *geometry, *end)
    assert found.is_contiguous(memory_format=LAST)
    assert found.dtype == kind
    wanted = expected(x, weight, bias, geometry, end)
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=1e-5)


def test_it_is_tried_on_what_it_must_know() -> None:
    assert depthwise._is_right(torch.device("cpu"))


# Triton's interpreter computes by numpy, which tells of it.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_no_number_stays_so_nearby_alone_and_in_its_channel() -> None:
    x = values(1, 3, 4, 6).contiguous(memory_format=LAST)
    x[0, 1, 0, 0], x[0, 2, 3, 5] = torch.nan, torch.inf
    weight, bias = values(3, 1, 3, 3, seed=1), values(3, seed=2)
    geometry = (1, 1), (1, 1), (1, 1)
    found = depthwise.forward(x, depthwise.turned(weight), bias, *geometry, 0.0, 0.0, 6.0)
    wanted = expected(x, weight, bias, geometry, (0.0, 0.0, 6.0)).float()
    assert wanted.isnan().any()
    torch.testing.assert_close(found, wanted, equal_nan=True)


def test_no_pictures_at_all() -> None:
    weight = depthwise.turned(values(4, 1, 3, 3))
    geometry = (1, 1), (0, 0), (1, 1)
    x = values(0, 4, 5, 6).contiguous(memory_format=LAST)
    assert depthwise.forward(x, weight, values(4), *geometry).shape == (0, 4, 3, 4)


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 8, 6, 5] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 stride: 2 group: 8
                            weight_filler { type: "msra" } bias_filler { type: "gaussian" } } }
layer { name: "relu6" type: "ReLU6" bottom: "conv" top: "conv" }
layer { name: "two" type: "Convolution" bottom: "conv" top: "two"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 4
                            weight_filler { type: "msra" } } }
"""


def test_a_net_uses_it_where_it_works_and_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = values(2, 8, 6, 5).numpy()
    caffe.set_random_seed(3)
    net = caffe.Net(NET, caffe.TEST)
    monkeypatch.setattr(depthwise, "takes", lambda x, kernel_size: True)
    monkeypatch.setattr(ways, "has_ways", lambda store: True)
    monkeypatch.setattr(ways, "WORTH", math.inf)
    use_store(CountingStore())
    try:
        for factor in (1, -2):
            # Weights that change are turned anew.
            net.params["conv"][0].data[...] *= factor
            caffe.set_engine("layerwise")
            wanted = net.forward(data=pictures)["two"].copy()
            caffe.set_engine("auto")
            for _ in range(6):
                found = net.forward(data=pictures)["two"]
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        said = dict(zip(net._layer_names, net.explain(), strict=True))
        assert "each channel by itself: " in said["conv"]
        assert "each channel" not in said["two"]
    finally:
        caffe.set_mode_cpu()


@pytest.mark.parametrize(("kind", "size", "stride"), [("fp16", 8, 1), ("fp32", 4, 2)])
def test_it_compiles_for_an_h100_and_loads_16_bytes_at_once(
    kind: str, size: int, stride: int
) -> None:
    constants = {
        "kernel_height": 3, "kernel_width": 3, "across": stride, "apart": 1, "is_relu": True,
        "has_slope": True, "has_bounds": True, "rows": 4, "columns": 4, "depth": 8, "size": size,
    }  # fmt: skip
    types = dict.fromkeys(("x", "weight", "bias", "y"), f"*{kind}")
    types |= dict.fromkeys(("slope", "least", "most"), "fp32")
    text = assert_compiles(depthwise, "_forward", types, constants, num_warps=4)
    moved = [line for line in text.splitlines() if "ld.global" in line or "st.global" in line]
    assert moved
    assert all("v4" in line for line in moved)


def test_it_is_not_used_on_the_cpu() -> None:
    assert not depthwise.takes(torch.ones(1, 2, 1, 1), (1, 1))
