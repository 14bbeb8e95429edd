"""Running a net layer by layer: every blob is there afterwards, gradients included."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..memory.stores import Store
from .steps import Step


def forward(steps: Sequence[Step], store: Store | None) -> float:
    """Run the steps in order; return the loss."""
    with torch.no_grad():
        return sum((step.forward(store) for step in steps), 0.0)


def backward(steps: Sequence[Step], store: Store | None) -> None:
    """Run the gradients of the steps, last step first."""
    with torch.no_grad():
        for step in reversed(steps):
            if step.need_backward:
                step.backward(store)
