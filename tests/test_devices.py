"""Which GPU can be used, and the reason when none can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import caffe
from caffe.devices import Card, DeviceFacts, device_facts, why_unusable

H100 = Card("H100", 80 * 2**30, "sm_90")
K80 = Card("Tesla K80", 12 * 2**30, "sm_37")


def test_a_cpu_only_build_is_named() -> None:
    reason = why_unusable(DeviceFacts("2.13.0+cpu", None), 0)
    assert reason is not None
    assert "2.13.0+cpu" in reason
    assert "CPU-only" in reason
    assert "set_mode_cpu" in reason


def test_a_missing_driver_is_named_with_what_it_said() -> None:
    facts = DeviceFacts("2.13.0", "cuda", ("sm_90",), (), failure="Found no NVIDIA driver")
    reason = why_unusable(facts, 0)
    assert reason is not None
    assert "driver" in reason
    assert "Found no NVIDIA driver" in reason


def test_an_unsupported_card_is_named() -> None:
    reason = why_unusable(DeviceFacts("2.13.0", "cuda", ("sm_80", "sm_90"), (K80,)), 0)
    assert reason is not None
    assert "Tesla K80" in reason
    assert "sm_37" in reason


def test_a_number_too_high_is_named() -> None:
    reason = why_unusable(DeviceFacts("2.13.0", "cuda", ("sm_90",), (H100,)), 3)
    assert reason is not None
    assert "no GPU 3" in reason


@pytest.mark.parametrize("built_for", [("sm_90",), ("sm_80", "compute_80"), ("gfx942",), ()])
def test_a_supported_card_has_no_reason(built_for: tuple[str, ...]) -> None:
    assert why_unusable(DeviceFacts("2.13.0", "cuda", built_for, (H100,)), 0) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_mode_without_a_gpu_raises_and_leaves_the_cpu_mode() -> None:
    reason = why_unusable(device_facts(), 0)
    assert reason is not None
    for attempt in (caffe.set_mode_gpu, lambda: caffe.set_device(0)):
        with pytest.raises(caffe.DeviceError) as caught:
            attempt()
        assert reason in str(caught.value)
    assert caffe.mode.current_store() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_net_runs_on_the_gpu() -> None:
    net = caffe.Net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
        'layer { name: "y" type: "Power" bottom: "x" top: "y" power_param { scale: 3 } }',
        caffe.TEST,
    )
    caffe.set_device(0)
    caffe.set_mode_gpu()
    try:
        assert net.forward(x=[1, 2])["y"].tolist() == [3, 6]
    finally:
        caffe.set_mode_cpu()


@pytest.mark.parametrize("call", [caffe.set_device, caffe.set_random_seed])
@pytest.mark.parametrize("value", ["x", None])
def test_what_is_no_whole_number_is_refused(call: Callable[[Any], None], value: Any) -> None:
    with pytest.raises(caffe.CaffeError, match="must be a whole number"):
        call(value)


@pytest.mark.parametrize("model", [None, 3, ["net.prototxt"]])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(caffe.CaffeError, match="takes a prototxt's path"):
        caffe.Net(model, caffe.TEST)
