"""What a program wants to be called for when a net's layers run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Callback = Callable[[int], Any]
"""Takes a layer's number."""


@dataclass
class Callbacks:
    """Functions to be called with the number of each layer that runs, in the order given."""

    before_forward: list[Callback] = field(default_factory=list)
    after_forward: list[Callback] = field(default_factory=list)
    before_backward: list[Callback] = field(default_factory=list)
    after_backward: list[Callback] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy of the net has: none, as they know the net that they were made for."""
        return vars(Callbacks())

    @property
    def heed_forward(self) -> bool:
        """Whether any is called at a forward, so that each layer must run by itself."""
        return bool(self.before_forward or self.after_forward)

    @property
    def heed_backward(self) -> bool:
        """Whether any is called at a backward, likewise."""
        return bool(self.before_backward or self.after_backward)
