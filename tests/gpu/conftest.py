"""Kernels compute what lies on the CPU: Triton's interpreter does, or a card where there is one."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from caffe.gpu import kernel
from caffe.gpu.kernel import Kernel

launch = Kernel.launch


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels are interpreted, where there is Triton, or run by a card."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    if torch.cuda.is_available():
        monkeypatch.setattr(Kernel, "launch", _on_the_card)
        yield
        return
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


def _on_the_card(self: Kernel, programs: int, *arguments: Any, **constants: Any) -> None:
    """Run a kernel on a card, with what its tensors hold, and copy that back."""
    tensors = {id(one): one for one in arguments if isinstance(one, torch.Tensor)}
    sent = {key: one.cuda() for key, one in tensors.items()}
    launch(self, programs, *(sent.get(id(one), one) for one in arguments), **constants)
    for key, one in tensors.items():
        assert sent[key].stride() == one.stride()
        one.copy_(sent[key])
