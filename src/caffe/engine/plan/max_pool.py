"""Maximum pooling."""

from __future__ import annotations

from typing import Any

from ...layers.layer import as_tensors
from ...layers.pooling import LOWEST, MAX, Pooling
from ...pytorch import torch
from ..steps import Step
from .builder import Builder
from .operation import Operation, Values, operation
from .settings import Settings


class MaxPoolOperation(Operation):
    """Maximum pooling where PyTorch's windows are Caffe's, no places asked for."""

    how = "maximum pooling"

    def __init__(self, step: Step, settings: Settings) -> None:
        super().__init__(step, settings)
        layer: Any = step.layer
        self._layer = layer
        windows = layer.windows(*self.read_shapes[0][2:])
        self._arguments = (windows.kernel, windows.stride, windows.pad, 1, not windows.floor)

    def run(self, values: Values) -> None:
        x = self.bottom(values, values[self.reads[0]].dtype)
        if self._store is not None:
            # To ask for the least value would make this thread wait for the GPU.
            values[self.writes[0]] = torch.max_pool2d(
                torch.where(x > LOWEST, x, LOWEST), *self._arguments
            )
            return
        y = torch.max_pool2d(x, *self._arguments)
        # A minimum is one pass over the values, and not a number if one of them is not.
        if not y.amin().item() >= LOWEST:
            # What is not a number, or minus infinity, the layer itself knows how to treat.
            y = as_tensors(self._layer.forward(x))[0]
        values[self.writes[0]] = y


def _not_torchs(layer: Pooling, step: Step, settings: Settings) -> str | None:
    if layer.param.pool != MAX or len(step.tops) != 1:
        return "not the maximum, or its place too"
    height, width = step.bottoms[0].shape[2:]
    if layer.windows(height, width).suits_torch(height, width):
        return None
    return "windows that PyTorch has not"


@operation.rule(Pooling, unless=_not_torchs)
def _max_pool(builder: Builder, number: int) -> MaxPoolOperation:
    return MaxPoolOperation(builder.steps[number], builder.settings)
