"""Running a net layer by layer: every blob is there afterwards, gradients included."""

from __future__ import annotations

from collections.abc import Sequence

from ..memory.stores import Store
from ..pytorch import torch
from .callbacks import Callbacks
from .steps import Loss, Step

_NONE = Callbacks()


def forward(
    steps: Sequence[Step], store: Store | None, callbacks: Callbacks = _NONE, first: int = 0
) -> Loss:
    """Run the steps in order; return the loss.

    Parameters
    ----------
    steps : sequence of Step
        Which.
    store : Store or None
        Where to compute; on the CPU where there is none.
    callbacks : Callbacks
        Who is called before and after each of them.
    first : int
        The first step's number in the net.
    """
    loss: Loss = 0.0
    with torch.no_grad():
        for number, step in enumerate(steps, first):
            for callback in callbacks.before_forward:
                callback(number)
            loss += step.forward(store)
            for callback in callbacks.after_forward:
                callback(number)
    return loss


def backward(
    steps: Sequence[Step], store: Store | None, callbacks: Callbacks = _NONE, first: int = 0
) -> None:
    """Run the gradients of the steps, last step first; who is called is so for every step."""
    with torch.no_grad():
        for number, step in reversed(list(enumerate(steps, first))):
            for callback in callbacks.before_backward:
                callback(number)
            if step.need_backward:
                step.backward(store)
            for callback in callbacks.after_backward:
                callback(number)
