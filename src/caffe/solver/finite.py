"""Where numbers stop being numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..errors import TrainingError
from ..net.net import Net
from ..pytorch import torch

ADVICE = "a lower base_lr, or clip_gradients, may help; the last snapshot is as it was"


def check_loss(net: Net, loss: float, iteration: int) -> None:
    """Stop a training whose loss is no number any more.

    Raises
    ------
    TrainingError
        The text names the first layer and blob that are not finite.
    """
    if not math.isfinite(loss):
        where = next(_blobs(net), None) or next(_parameters(net), "no blob, but the sum of losses")
        raise TrainingError(
            f"iteration {iteration}: the loss is {loss:g}; the first that is not finite is "
            f"{where}: {ADVICE}"
        )


def check_parameters(net: Net, iteration: int) -> None:
    """Stop a training whose parameters are no numbers any more.

    Raises
    ------
    TrainingError
        The text names the first layer and parameter that are not finite.
    """
    where = next(_parameters(net), None)
    if where is not None:
        raise TrainingError(f"iteration {iteration}: {where} is not finite: {ADVICE}")


def _blobs(net: Net) -> Iterator[str]:
    for step in net.inside.steps:
        for name, top in zip(step.top_names, step.tops, strict=True):
            if not bool(torch.isfinite(top.data_tensor()).all()):
                yield f"{step.label}, blob '{name}'"


def _parameters(net: Net) -> Iterator[str]:
    for step in net.inside.steps:
        for number, blob in enumerate(step.layer.blobs):
            if not bool(torch.isfinite(blob.data_tensor()).all()):
                yield f"{step.label}, parameter blob {number}"
