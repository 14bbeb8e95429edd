"""Blobs that are computed when somebody looks at them (lazy evaluation)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...memory.synced import SyncedMemory
from .operation import Values
from .survey import Kept

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Look:
    """A run repeated for somebody who looks: how far it has come, and its values.

    `finals` are those that nobody has been given yet, `given` the others, while somebody has them.
    """

    values: Values
    position: int = 0
    finals: dict[int, Tensor] = field(default_factory=dict)
    given: weakref.WeakValueDictionary[int, Tensor] = field(
        default_factory=weakref.WeakValueDictionary
    )


@dataclass(eq=False)
class Computation:
    """What a deferred memory calls when somebody looks."""

    compute: Callable[[int], Tensor]
    key: int
    looks: Looks

    def __call__(self) -> Tensor:
        return self.compute(self.key)


class Looks:
    """Account of who has looked at what a plan left to be computed.

    Parameters
    ----------
    written : mapping of int to Kept
        The memories that the plan writes.
    compute : callable
        Computes a memory's values again, as they were at the last run. Who holds a deferred memory
        keeps it, and with it the plan; the plan must not keep it.
    """

    def __init__(self, written: Mapping[int, Kept], compute: Callable[[int], Tensor]) -> None:
        self._written = written
        self._compute = weakref.WeakMethod(compute)
        self._computations: weakref.WeakValueDictionary[int, Computation] = (
            weakref.WeakValueDictionary()
        )
        self._left: set[int] = set()
        self._at: set[int] = set()
        self.look: Look | None = None

    def start_run(self) -> bool:
        """Count what was looked at since the last run, and forget that run's values.

        Returns
        -------
        bool
            Whether all that was left to be computed still is, without going through it.
        """
        # A memory that takes other values lets go of its computation.
        is_untouched = not self._at and len(self._computations) == len(self._left)
        if not is_untouched:
            self._left.clear()
        for key in self._at:
            self._written[key].seen += 1
        self._at.clear()
        self.look = None
        return is_untouched

    def note(self, key: int) -> None:
        """Note that somebody looks at a memory."""
        self._at.add(key)

    def defer(self, key: int, memory: SyncedMemory) -> None:
        """Leave a memory to be computed when somebody looks."""
        self._left.add(key)
        left = memory.computation
        if isinstance(left, Computation) and left.looks is self and left.key == key:
            # Nobody has looked since this was said before.
            return
        computation = self._computations.get(key)
        if computation is None:
            compute = self._compute()
            assert compute is not None
            computation = self._computations[key] = Computation(compute, key, self)
        memory.defer(self._written[key].count, computation)

    def settle(self, first: int) -> None:
        """Compute what is left to be computed by the operations from `first` on.

        Nobody has looked at it; it is only that it could not be computed later.
        """
        at = set(self._at)
        for kept in self._written.values():
            memory = kept.memory()
            if kept.last >= first and memory is not None and memory.is_deferred:
                memory.cpu()
        self._at = at
