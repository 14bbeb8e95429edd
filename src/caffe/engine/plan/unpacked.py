"""A convolution by its weights as they are, with what follows it: how a GPU computes it."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING

from ...gpu import depthwise, finishing
from ...layers.layer import Activation
from ...memory.blob import Shape
from ...pytorch import F, torch
from .fused import RELU
from .operation import activate
from .settings import Settings
from .ways import Way, Ways, ways

if TYPE_CHECKING:
    from torch import Tensor

MULTIPLES = 4, 8
"""Of how many channels cuDNN's kernels of short numbers go through a few pictures' at once."""

BY_CHANNELS = "each channel by itself"

Geometry = tuple[Shape, Shape, Shape, int]
"""Stride, padding, dilation and the number of groups."""


class Unpacked:
    """A convolution and what follows it.

    Parameters
    ----------
    geometry : tuple
        Stride, padding, dilation and the number of groups.
    activation : Activation
        What follows where nothing is added.
    settings : Settings
        In what and where it is computed.
    kind : hashable
        What else the time depends on.
    """

    def __init__(
        self, geometry: Geometry, activation: Activation, settings: Settings, kind: Hashable
    ) -> None:
        self._geometry = geometry
        self._activation = activation
        self._settings = settings
        self._kind = (settings, geometry, kind)
        self._alone = ways(settings, (self._kind, activation))
        self._added = {
            end: ways(settings, (self._kind, end, "a sum")) for end in (RELU, Activation())
        }

    @property
    def has_ways(self) -> bool:
        """Whether there is a choice."""
        return self._alone is not None

    @property
    def said(self) -> str:
        """Which way was chosen, for people."""
        tried = (self._alone, *self._added.values())
        return next((one.said for one in tried if one is not None and one.said), "")

    def pack(self, weight: Tensor, bias: Tensor) -> None:
        """Take the parameters, with what follows folded in."""
        self._weight, self._bias = weight, bias
        self._widened: dict[int, Tensor] = {}
        self._turned: Tensor | None = None

    def release(self) -> None:
        """Drop the parameters."""
        del self._weight, self._bias, self._widened, self._turned

    def run(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, activated."""
        return self._end(self._alone, x, None, self._activation)

    def add(self, x: Tensor, other: Tensor, end: Activation) -> Tensor:
        """Return the convolution of `x` plus `other`, activated."""
        other = other.contiguous(memory_format=self._settings.picture_layout)
        return self._end(self._added.get(end), x, other, end)

    def _end(self, tried: Ways | None, x: Tensor, other: Tensor | None, end: Activation) -> Tensor:
        apart = partial(self._apart, other=other, end=end)
        if tried is None or tried.is_apart:
            return apart(x)
        others = self._others(x, other, end)
        return tried.run(x, apart, others, others.keys() & self._sure)

    def _apart(self, x: Tensor, other: Tensor | None, end: Activation) -> Tensor:
        y = F.conv2d(x, self._weight, self._bias, *self._geometry)
        return activate(y if other is None else y.add_(other), end)

    def _others(self, x: Tensor, other: Tensor | None, end: Activation) -> dict[str, Way]:
        """The other ways that might do."""
        found: dict[str, Way] = {}
        if end == RELU:
            found["as one call of cuDNN"] = partial(self._at_once, other=other)
        if finishing.takes(x):
            found["finished in one pass"] = partial(self._finished, other=other, end=end)
        if other is None and self._is_depthwise and depthwise.takes(x, self._weight.shape[2:]):
            found[BY_CHANNELS] = partial(self._by_channels, end=end)
        if not self._may_widen(x):
            return found
        wide = {
            f"with {multiple} channels, {name}": partial(self._wide, multiple, way)
            for multiple in MULTIPLES
            for name, way in found.items()
        }
        return found | wide

    @property
    def _sure(self) -> set[str]:
        """The ways that are the quickest wherever they can be had."""
        is_short = self._settings.precision != torch.float32
        return {BY_CHANNELS} if is_short else set()

    @property
    def _is_depthwise(self) -> bool:
        return len(self._weight) == self._geometry[3] and self._weight.shape[1] == 1

    def _may_widen(self, x: Tensor) -> bool:
        """Whether channels are few, and kernels of short numbers, or of TF32, are to be had."""
        is_short = self._settings.picture_layout == torch.channels_last
        return is_short and self._geometry[3] == 1 and x.shape[1] < MULTIPLES[0]

    def _at_once(self, x: Tensor, other: Tensor | None) -> Tensor:
        weight = self._weight_for(x)
        if other is None:
            return torch.cudnn_convolution_relu(x, weight, self._bias, *self._geometry)
        return torch.cudnn_convolution_add_relu(x, weight, other, 1.0, self._bias, *self._geometry)

    def _finished(self, x: Tensor, other: Tensor | None, end: Activation) -> Tensor:
        y = F.conv2d(x, self._weight_for(x), None, *self._geometry)
        return finishing.finish(y, self._bias, other, end.slope, end.least, end.most)

    def _by_channels(self, x: Tensor, end: Activation) -> Tensor:
        if self._turned is None:
            self._turned = depthwise.turned(self._weight)
        geometry = self._geometry[:3]
        return depthwise.forward(
            x, self._turned, self._bias, *geometry, end.slope, end.least, end.most
        )

    def _wide(self, multiple: int, way: Way, x: Tensor) -> Tensor:
        return way(_widened(x, multiple))

    def _weight_for(self, x: Tensor) -> Tensor:
        """The weights, with zeros for channels that `x` has beyond them."""
        channels = x.shape[1]
        if channels == self._weight.shape[1] * self._geometry[3]:
            return self._weight
        if channels not in self._widened:
            self._widened[channels] = _widened(self._weight, channels)
        return self._widened[channels]


def _widened(values: Tensor, channels: int) -> Tensor:
    """The tensor with zeros as further channels."""
    return F.pad(values, (0, 0, 0, 0, 0, channels - values.shape[1]))
