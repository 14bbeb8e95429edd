"""Which GPU can be used, and the reason when none can."""

from __future__ import annotations

import pytest
import torch

import caffe
from caffe.devices import Card, DeviceFacts, check_process, why_unusable

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


def test_a_fork_of_a_process_that_has_used_the_gpu_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = torch.device("cuda", 0)
    check_process(gpu)
    # What PyTorch says there; only a real GPU can be lost to a parent.
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    check_process(torch.device("cpu"))
    with pytest.raises(caffe.DeviceError, match=r"forked.*'spawn'"):
        check_process(gpu)
