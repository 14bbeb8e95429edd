"""Maximum pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...compiled.llvm import width_for
from ...compiled.max_pooling import MOST_PIXELS, MaxPooling
from ...gpu import max_pooling
from ...layers.layer import as_tensors
from ...layers.pooling import MAX, Pooling, lowest
from ...pytorch import torch
from ..steps import Step
from .builder import Builder
from .operation import Operation, Values, operation
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = 2
"""How many runs pass before a kernel is compiled, which takes longer than one of them."""


class MaxPoolOperation(Operation):
    """Maximum pooling where PyTorch's windows are Caffe's, no places asked for."""

    how = "maximum pooling"

    def __init__(self, step: Step, settings: Settings) -> None:
        super().__init__(step, settings)
        layer: Any = step.layer
        self._layer = layer
        windows = layer.windows(*self.read_shapes[0][2:])
        self._arguments = (windows.kernel, windows.stride, windows.pad, 1, not windows.floor)
        self._windows = windows
        is_small = windows.kernel[0] * windows.kernel[1] <= MOST_PIXELS
        self._may_compile = is_small and self._store is None and self._dtype == torch.float32
        self._runs = 0
        self._kernel: MaxPooling | None = None

    def run(self, values: Values) -> None:
        x = self.bottom(values, values[self.reads[0]].dtype)
        if self._store is not None:
            values[self.writes[0]] = self._on_store(x)
            return
        if self._kernel is None and self._may_compile:
            self._compile()
        if self._kernel is not None and self._suits_kernel(x):
            values[self.writes[0]] = self._kernel(x, *self.shapes[0][2:])
            return
        values[self.writes[0]] = self._by_operator(x)

    def _on_store(self, x: Tensor) -> Tensor:
        least, windows = lowest(x), self._windows
        if max_pooling.takes(x):
            size = self.shapes[0][2], self.shapes[0][3]
            return max_pooling.forward(x, windows.kernel, windows.stride, windows.pad, size, least)
        # To ask for the least value would make this thread wait for the GPU.
        return torch.max_pool2d(torch.where(x > least, x, least), *self._arguments)

    def _suits_kernel(self, x: Tensor) -> bool:
        # A person's own layer gives what it likes.
        is_float = x.dtype is torch.float32
        return is_float and x.is_contiguous(memory_format=torch.channels_last)

    def _compile(self) -> None:
        self._runs += 1
        if self._runs <= PATIENCE:
            return
        self._may_compile = False
        windows, channels = self._windows, self.read_shapes[0][1]
        if width_for(channels):
            self._kernel = MaxPooling(windows.kernel, windows.stride, windows.pad, channels)

    def _by_operator(self, x: Tensor) -> Tensor:
        y = torch.max_pool2d(x, *self._arguments)
        # A minimum is one pass over the values, and not a number if one of them is not.
        if not y.amin().item() >= lowest(y):
            # What is not a number, or minus infinity, the layer itself knows how to treat.
            y = as_tensors(self._layer.forward(x))[0]
        return y


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
