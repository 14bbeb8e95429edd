"""How layers are said in another library's operators; each translation stands beside its layer.

A translation is given the layer, set up, the graph that is being made, and the bottoms as that
library's values; it returns the tops. It means what the layer's forward means at TEST, for all
that its condition (`unless`) does not exclude. The operators are OpenVINO's; for ONNX Runtime those
that are used here are written in ONNX's (`caffe.engine.backends.onnx_operators`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ..memory.blob import Shape
from .layer import Layer
from .rules import Rules

Value = Any
"""One value of the other library's graph."""


class Graph(Protocol):
    """A graph in another library's operators, as far as translations need it."""

    ops: Any
    """The library's operators by name."""

    def shape(self, x: Value) -> Shape:
        """Return a value's shape."""
        ...

    def constant(self, values: Any) -> Value:
        """Return float32 numbers as a value."""
        ...

    def integers(self, values: Iterable[int]) -> Value:
        """Return whole numbers as a value of one axis."""
        ...

    def parameter(self, layer: Layer, index: int, shape: Sequence[int] | None = None) -> Value:
        """Return one of the layer's parameters, in its own shape or another."""
        ...

    def shaped(self, x: Value, shape: Sequence[int]) -> Value:
        """Return a value in another shape."""
        ...

    def biased(self, y: Value, layer: Layer, axes: int) -> Value:
        """Add the layer's second parameter, if there is one, before so many axes."""
        ...


Translation = Callable[..., Any]

openvino: Rules[Translation] = Rules("translation")
"""Translations into OpenVINO's operators (its newest operator set, from version 13 on).

ONNX Runtime takes Recaffe's own, too.
"""
