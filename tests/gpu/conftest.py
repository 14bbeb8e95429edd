"""Triton's interpreter computes kernels of a GPU on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from caffe.gpu import kernel


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels are interpreted, where there is Triton."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    kernel.jitted.cache_clear()
    yield
    kernel.jitted.cache_clear()
