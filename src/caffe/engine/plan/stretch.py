"""Operations of a plan that are run alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..backends.backend import Backend
from ..backends.choice import Choice
from .operation import Operation
from .survey import Final, Finals, parted


@dataclass
class Stretch:
    """Operations from `start` to before `end` that are run alike.

    Attributes
    ----------
    choice : Choice or None
        What runs them as one; None where only PyTorch can run them, or has been chosen.
    reads : list of int
        The memories that they read before they write them.
    read_later : set of int
        Those that they write and operations behind them read.
    finals : list of (int, Kept)
        Those that hold their final values after them.
    released : set of int
        Those that no operation behind them reads.
    is_small : bool
        Whether they have too little work for anything to be tried.
    is_left : bool
        Whether PyTorch's packed form of them was dropped, since a backend is quicker.
    told : str
        What came of the choice, once there is none any more.
    kept : list of (int, Kept) or None
        Those of `finals` that a run as one has written, while all others are left as it left them.
    """

    start: int
    end: int
    choice: Choice | None
    reads: list[int]
    read_later: set[int]
    finals: list[Final]
    released: set[int]
    is_small: bool = False
    is_left: bool = False
    told: str = ""
    kept: list[Final] | None = None

    def parted(self) -> Finals:
        """Part what they make as `survey.parted` does, but leave out what is left as it was."""
        if self.kept is not None:
            kept, let_go = parted(self.kept)
            if not let_go:
                return kept, []
        return parted(self.finals)

    def is_settled(self, operations: Sequence[Operation]) -> bool:
        """Tell whether nothing is left to be tried, given all of the plan's operations."""
        if self.choice is not None and not self.choice.is_settled:
            return False
        # What a backend runs PyTorch never tries.
        return self.is_left or not any(operations[i].is_trying for i in self.numbers)

    @property
    def numbers(self) -> range:
        """The operations' numbers."""
        return range(self.start, self.end)

    @property
    def verdict(self) -> str:
        """How quick those are that were tried, for people; empty where none was."""
        told = self.told if self.choice is None else self.choice.told
        return f" ({told})" if told else ""

    def notes(self, operation: Operation, backends: Sequence[Backend]) -> tuple[str, str]:
        """Say what runs one of the operations: of its first layer alone, and of all of them."""
        champion = None if self.choice is None else self.choice.chosen
        is_torchs = champion is None or champion.needs_torch
        found_out = f", {operation.found_out}" if operation.found_out and is_torchs else ""
        if self.choice is not None:
            is_ready = champion is not None and self.choice.compiled is not None
            return found_out, f"; run by {champion.name}" if champion and is_ready else ""
        others, note = [], ""
        for backend in backends:
            refusal = backend.refusal(operation)
            if refusal is None:
                others.append(backend.name)
            else:
                note += f"; not by {backend.name}: {refusal}"
        if others:
            why = "not tried for so little work" if self.is_small else "would be slower"
            note += f"; {' and '.join(others)} {why}"
        return found_out, note
