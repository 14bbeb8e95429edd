"""How rules say what a layer is in kernels that LLVM compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ...compiled.llvm import width_for
from ...layers.layer import Layer
from ...layers.rules import Rules
from ...memory.blob import Shape
from .llvm_nodes import Node, Tiles
from .llvm_values import Value


class Graph(Protocol):
    """The values and nodes of some layers, as far as the rules need it."""

    tiles: Tiles

    def parameters(self, layer: Layer) -> list[Any]:
        """Return a layer's parameters."""
        ...

    def add(self, node: Node) -> None:
        """Add a node behind all others."""
        ...

    def remove(self, node: Node) -> None:
        """Do without a node whose value nobody reads."""
        ...

    def moves_last(self, node: Node) -> None:
        """Put a node behind all others."""
        ...

    def shaped(self, x: Value, shape: Shape) -> Value:
        """Return a value in another shape."""
        ...

    def plain(self, x: Value) -> Value:
        """Return a value whose numbers lie in Caffe's order, with nothing between them."""
        ...

    def pictures(self, x: Value) -> Value:
        """Return a value whose numbers lie channels last, where it has four axes."""
        ...

    def rows(self, x: Value) -> Value:
        """Return a value that has rows, which an input has not."""
        ...


MOST_GROUPS = 8
"""How many groups of channels a convolution may have: each is a product by itself."""

Rule = Callable[..., None]

llvm: Rules[Rule] = Rules("form for LLVM")
"""How a layer is computed; a rule is given the layer, the graph, the top (or the tops, where there
are several) and the bottoms."""

ANY_ORDER: set[Rule | None] = set()
"""Those that take values of four axes in whatever order they lie; others are given pictures."""


def in_any_order(rule: Rule) -> Rule:
    """Note that a rule takes values in whatever order."""
    ANY_ORDER.add(rule)
    return rule


def no_vectors(channels: int) -> str | None:
    """Say that kernels do not know so many channels; None where they do."""
    return None if width_for(channels) else "channels that are no multiple of four"
