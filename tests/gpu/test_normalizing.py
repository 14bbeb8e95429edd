"""LRN as one kernel means what the layer means, run on the CPU by Triton's interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe.gpu import kernel, normalizing
from caffe.gpu.normalizing import backward, forward
from caffe.layers.lrn import LRN
from tests.helpers.gpu_code import assert_compiles
from tests.helpers.running import layer_net

TEXT = 'type: "LRN" lrn_param {{ local_size: {} alpha: {} beta: {} k: {} }}'
PARAMS = [(5, 1e-4, 0.75, 1), (5, 0.7, 0.75, 2), (3, 0.3, 0.6, 0.5), (1, 2, 1, 1), (9, 1, 0.75, 1)]
SHAPES = [(2, 7, 5, 6), (1, 1, 3, 3), (3, 140, 1, 2), (1, 3, 12, 13)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]

pytestmark = pytest.mark.usefixtures("interpreted")


def layer_of(size: int, alpha: float, beta: float, k: float, shape: tuple[int, ...]) -> LRN:
    layer = layer_net(TEXT.format(size, alpha, beta, k), [shape]).layer_dict["layer"]
    assert isinstance(layer, LRN)
    return layer


def values(shape: tuple[int, ...], seed: int, layout: torch.memory_format) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(3 * rng.normal(size=shape)).float().contiguous(memory_format=layout)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    difference = (found.double() - expected.double()).abs().amax()
    assert difference <= tolerance * expected.double().abs().amax()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("param", PARAMS)
def test_values_and_gradients_are_the_layers(
    param: tuple[int, float, float, float], shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    layer = layer_of(*param, shape)
    x, diff = values(shape, 1, layout), values(shape, 2, torch.contiguous_format)
    found = forward(x, *layer.numbers)
    assert found.is_contiguous(memory_format=layout)
    assert_close(found, layer.forward(x), 1e-6)
    (expected,) = layer.backward([diff.double()], [], [x.double()], [True])
    assert_close(backward(diff, x, *layer.numbers), expected, 1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 6, 4, 3), (2, 24, 4, 3), (1, 12, 1, 3)])
def test_short_numbers_are_computed_in_float32(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, layout: torch.memory_format
) -> None:
    layer = layer_of(5, 1e-4, 0.75, 1, shape)
    # Their squares are more than float16 holds.
    x, diff = ((200 * values(shape, seed, layout)).to(dtype) for seed in (3, 4))
    found = forward(x, *layer.numbers)
    assert found.dtype == dtype
    assert_close(found, layer.forward(x.double()), tolerance)
    (expected,) = layer.backward([diff.double()], [], [x.double()], [True])
    assert_close(backward(diff, x, *layer.numbers), expected, tolerance)


def test_strides_of_any_kind_and_no_pictures_at_all() -> None:
    layer = layer_of(5, 0.5, 0.75, 1, (2, 4, 3, 6))
    x = values((2, 4, 6, 6), 4, torch.contiguous_format)[:, :, ::2]
    assert_close(forward(x, *layer.numbers), layer.forward(x), 1e-6)
    assert forward(x[:0], *layer.numbers).shape == (0, 4, 3, 6)


# Triton's interpreter computes by numpy, which tells of it.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_no_number_stays_so_nearby_alone() -> None:
    layer = layer_of(3, 0.5, 0.75, 1, (1, 6, 2, 2))
    x = values((1, 6, 2, 2), 5, torch.contiguous_format)
    x[0, 2, 0, 0], x[0, 5, 1, 1] = torch.nan, torch.inf
    found, expected = forward(x, *layer.numbers), layer.forward(x)
    assert torch.equal(found.isnan(), expected.isnan())
    assert_close(found.nan_to_num(), expected.nan_to_num(), 1e-6)


def test_the_layer_uses_it_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 5, 4, 3)
    net = layer_net(TEXT.format(5, 0.5, 0.75, 1), [shape])
    net.blobs["b0"].data[...] = np.random.default_rng(0).normal(size=shape)
    expected = net.forward()["t0"].copy()
    calls = []

    def counted(x: torch.Tensor, *numbers: Any) -> torch.Tensor:
        calls.append(x.shape)
        return forward(x, *numbers)

    monkeypatch.setattr(normalizing, "forward", counted)
    monkeypatch.setattr(normalizing, "takes", lambda x, size: True)
    caffe.set_engine("layerwise")
    try:
        found = net.forward()["t0"]
    finally:
        caffe.set_engine("auto")
    assert calls == [shape]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["_forward", "_backward"])
@pytest.mark.parametrize("vector", [1, 8])
def test_it_compiles_for_an_h100_where_there_is_none(name: str, vector: int) -> None:
    tensors = dict.fromkeys(("x", "top", "diff", "gradient"), "*fp16")
    numbers = dict.fromkeys(("share", "beta", "k"), "fp32")
    constants = {
        "half": 2, "is_usual": True, "is_last": vector > 1, "vector": vector, "span": 8,
        "threads": 128,
    }  # fmt: skip
    text = assert_compiles(normalizing, name, {**tensors, **numbers}, constants, num_warps=4)
    # Neighbours change no hands.
    assert "shared" not in text


def test_many_channels_around_each_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "takes", lambda x, trial: True)
    x = torch.ones(1, 2, 1, 1)
    assert [normalizing.takes(x, size) for size in (1, 33, 35)] == [True, True, False]


def test_it_is_not_used_on_the_cpu() -> None:
    assert not normalizing.takes(torch.ones(1, 2, 1, 1), 5)
