"""What a net with ``debug_info: true`` tells about each layer: mean absolute values."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..memory.stores import Store
from .steps import Step

if TYPE_CHECKING:
    from torch import Tensor


def report_forward(steps: Iterable[Step], store: Store | None) -> None:
    """Say for each step how large its tops and parameters are."""
    for step in steps:
        for name, blob in zip(step.top_names, step.tops, strict=True):
            _say("Forward", step, "top blob", name, "data", blob.data_tensor(store))
        for i, blob in enumerate(step.layer.blobs):
            _say("Forward", step, "param blob", str(i), "data", blob.data_tensor(store))


def report_backward(steps: Sequence[Step], store: Store | None) -> None:
    """Say for each step, last first, how large the gradients are that it has computed."""
    for step in reversed(steps):
        if not step.need_backward:
            continue
        bottoms = zip(step.bottom_names, step.bottoms, step.node.bottom_need_backward, strict=True)
        for name, blob, need in bottoms:
            if need:
                _say("Backward", step, "bottom blob", name, "diff", blob.diff_tensor(store))
        for i, (blob, need) in enumerate(
            zip(step.layer.blobs, step.node.param_need_backward, strict=True)
        ):
            if need:
                _say("Backward", step, "param blob", str(i), "diff", blob.diff_tensor(store))


def _say(way: str, step: Step, what: str, name: str, part: str, values: Tensor) -> None:
    mean = float(values.abs().mean()) if values.numel() else 0.0
    print(f"    [{way}] Layer {step.layer.name}, {what} {name} {part}: {mean:.6g}", file=sys.stderr)
