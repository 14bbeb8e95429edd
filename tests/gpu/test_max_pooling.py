"""Maximum pooling's kernel means what the layer means, run on the CPU by Triton's interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe.gpu import max_pooling
from caffe.layers.pooling import Windows, lowest, max_pool
from tests.helpers.gpu_code import assert_compiles
from tests.helpers.running import layer_net
from tests.helpers.second_store import CountingStore, use_store

pytestmark = pytest.mark.usefixtures("interpreted")

FIRST, LAST = torch.contiguous_format, torch.channels_last
KINDS = [torch.float32, torch.float16, torch.bfloat16]
CASES = [
    # The last windows reach past the picture.
    ((2, 24, 6, 8), Windows((3, 3), (2, 2), (0, 0))),
    ((1, 80, 5, 6), Windows((3, 3), (1, 1), (1, 1))),
    ((2, 6, 7, 5), Windows((2, 3), (2, 1), (1, 1), floor=True)),
    ((1, 5, 4, 9), Windows((2, 2), (3, 3), (0, 0))),
    ((1, 16, 7, 6), Windows((7, 6), (1, 1), (0, 0))),
]


def values(shape: tuple[int, ...], kind: torch.dtype, layout: torch.memory_format) -> torch.Tensor:
    """Numbers, among them what is none, the least of all, and what is less and more than any."""
    torch.manual_seed(3)
    x = torch.randn(shape)
    for odd in (torch.nan, torch.inf, -torch.inf, torch.finfo(kind).min):
        x[torch.rand(shape) < 0.3] = odd
    return x.to(kind).contiguous(memory_format=layout)


def pooled(x: torch.Tensor, windows: Windows) -> torch.Tensor:
    size = windows.out_sizes(*x.shape[2:])
    numbers = (windows.kernel, windows.stride, windows.pad, size, lowest(x))
    return max_pooling.forward(x, *numbers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [FIRST, LAST])
@pytest.mark.parametrize(("shape", "windows"), CASES)
def test_values_are_the_layers(
    shape: tuple[int, ...], windows: Windows, layout: torch.memory_format, kind: torch.dtype
) -> None:
    x = values(shape, kind, layout)
    found = pooled(x, windows)
    assert found.is_contiguous(memory_format=layout)
    assert found.dtype == kind
    assert torch.equal(found, max_pool(x, windows)[0])


def test_it_is_tried_on_what_it_must_know() -> None:
    assert max_pooling._is_right(torch.device("cpu"))


def test_strides_of_any_kind_and_no_pictures_at_all() -> None:
    x = values((2, 4, 6, 6), torch.float32, FIRST)[:, ::2, :, 1:]
    windows = Windows((2, 2), (2, 2), (0, 0))
    assert torch.equal(pooled(x, windows), max_pool(x, windows)[0])
    assert pooled(x[:0], windows).shape == (0, 2, 3, 3)


def test_plans_use_it_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }'
    net = layer_net(text, [(1, 4, 6, 5)])
    net.blobs["b0"].data[...] = np.random.default_rng(0).normal(size=(1, 4, 6, 5))
    expected, calls = net.forward()["t0"].copy(), []
    kernels = max_pooling.forward

    def counted(x: torch.Tensor, *numbers: Any) -> torch.Tensor:
        calls.append(tuple(x.shape))
        return kernels(x, *numbers)

    monkeypatch.setattr(max_pooling, "forward", counted)
    monkeypatch.setattr(max_pooling, "takes", lambda x: True)
    use_store(CountingStore())
    try:
        np.testing.assert_array_equal(net.forward()["t0"], expected)
    finally:
        caffe.set_mode_cpu()
    assert calls == [(1, 4, 6, 5)]


@pytest.mark.parametrize(("kind", "size", "width"), [("fp16", 8, "v4"), ("fp32", 1, None)])
def test_it_compiles_for_an_h100_and_loads_16_bytes_at_once(
    kind: str, size: int, width: str | None
) -> None:
    constants: dict[str, Any] = {
        "kernel_height": 3, "kernel_width": 3, "is_unrolled": True,
        "rows": 4, "columns": 4 if width else 32, "depth": 8 if width else 1, "size": size,
    }  # fmt: skip
    types = {"x": f"*{kind}", "top": f"*{kind}", "least": "fp32"}
    text = assert_compiles(max_pooling, "_forward", types, constants, num_warps=4)
    loads = [line for line in text.splitlines() if "ld.global" in line]
    assert len(loads) == 9
    # What the interpreter is taught: a GPU's other maximum keeps NaN.
    assert "max" in text
    assert "NaN" not in text
    assert all("v4" in line for line in loads) == bool(width)


def test_it_is_not_used_on_the_cpu() -> None:
    assert not max_pooling.takes(torch.ones(1, 2, 1, 1))
