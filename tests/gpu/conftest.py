"""Triton's interpreter computes kernels of a GPU on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from caffe.gpu import kernel


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels are interpreted, where there is Triton."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from triton.runtime.interpreter import InterpreterBuilder

    # Of a number and NaN a GPU's maximum is the number, as LLVM's maxnum; the interpreter's is NaN.
    monkeypatch.setattr(
        InterpreterBuilder,
        "create_maxnumf",
        lambda self, one, other: self.binary_op(one, other, np.fmax),
    )
    kernel.jitted.cache_clear()
    yield
    kernel.jitted.cache_clear()
