"""Which of a net's layers a plan joins into one operation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from ...layers.layer import Activation
from ..steps import Step
from .fused import packed_name
from .operation import Activate, LayerOperation, Nothing, Operation, PassOn, operation
from .settings import Settings


class Builder:
    """Turns steps into operations, joining what belongs together.

    Parameters
    ----------
    steps : sequence of Step
        The net's layers that are to be planned, in running order.
    settings : Settings
        In what and where they are to be computed.

    Attributes
    ----------
    operations : list of Operation
        What has been made so far.
    reasons : dict of int to str
        By a step's number: what becomes of it, or why it has no quicker form.
    touching : dict of int to list of int
        By a memory's identity: the numbers of the steps that read or write it.
    """

    def __init__(self, steps: Sequence[Step], settings: Settings) -> None:
        self.steps = steps
        self.settings = settings
        self.operations: list[Operation] = []
        self.reasons: dict[int, str] = {}
        self.touching: dict[int, list[int]] = {}
        for number, step in enumerate(steps):
            for key in {id(blob.memory) for blob in (*step.bottoms, *step.tops)}:
                self.touching.setdefault(key, []).append(number)
        # For each memory the operation that wrote it last, and how many there had been.
        self._writers: dict[int, tuple[Operation, int]] = {}
        self._made = 0
        self._fresh: set[int] = set()
        self._taken: set[int] = set()

    def build(self) -> list[Operation]:
        """Make the operations of all steps."""
        for number, step in enumerate(self.steps):
            reason = self._nothing_to_run(step)
            if reason:
                self.reasons[number] = reason
            elif number not in self._taken:
                with step.blame():
                    made = self._operation(number)
                self.reasons.setdefault(number, made.how)
                if not (isinstance(made, PassOn) and made.reads == made.writes):
                    self._append(made)
        return self.operations

    def _append(self, made: Operation) -> None:
        self.operations.append(made)
        note_fresh(self._fresh, made)
        self._made += 1
        self._writers.update((key, (made, self._made)) for key in made.writes)

    def writer(self, key: int) -> tuple[Operation, int] | None:
        """Return the operation that wrote a memory last, if what it read is still as it was.

        Beside it stands how many had been made by then.
        """
        found = self._writers.get(key)
        if found is None or any(self._written(read) > found[1] for read in found[0].reads):
            return None
        return found

    def _written(self, key: int) -> int:
        return self._writers[key][1] if key in self._writers else 0

    def take_back(self, made: Operation) -> None:
        """Take an operation out, which becomes part of another one."""
        for k in reversed(range(len(self.operations))):
            if self.operations[k] is made:
                del self.operations[k]
                return

    @staticmethod
    def _nothing_to_run(step: Step) -> str:
        """Why a step is no operation; empty where it is one."""
        if step.layer.is_given:
            return "given by the program"
        if step.layer.on_blobs:
            return "a source of data"
        if not step.tops:
            return "no top"
        return "its bottom's memory" if step.layer.shares else ""

    def _operation(self, number: int) -> Operation:
        step = self.steps[number]
        layer = step.layer
        if step.is_of_nothing:
            return Nothing(step, self.settings)
        if any(0 in blob.shape for blob in step.bottoms):
            self.reasons[number] = f"{LayerOperation.how}: a bottom is empty"
            return LayerOperation(step, self.settings)
        if layer.passes_on:
            return PassOn(step, self.settings)
        if layer.activation is not None and self._may_change(step):
            return Activate(step, self.settings, layer.activation)
        make = operation.find(layer, step, self.settings)
        made = None if make is None else make(self, number)
        if made is not None:
            return made
        refusal = operation.refusal(layer, step, self.settings) or "nothing to join it with"
        self.reasons[number] = f"{LayerOperation.how}: {refusal}"
        return LayerOperation(step, self.settings)

    def _may_change(self, step: Step) -> bool:
        return step.tops[0] is step.bottoms[0] and id(step.tops[0].memory) in self._fresh

    def join(self, start: int, fold: bool, only: Activation | None = None) -> list[Step]:
        """Take the steps behind `start` along that change its top in place.

        These are layers that pass on, with `fold` affine ones, and in the end one activation.

        Parameters
        ----------
        start : int
            The step's number.
        fold : bool
            Whether factors and summands by channel can be taken along.
        only : Activation, optional
            The one activation that can be taken along, instead of any that the packed operators
            know.
        """
        memory = self.steps[start].tops[0].memory
        found: list[int] = []
        touching = self.touching[id(memory)]
        for number in touching[bisect_right(touching, start) :]:
            step, layer = self.steps[number], self.steps[number].layer
            in_place = step.bottoms == step.tops and len(step.tops) == 1
            if not in_place or step.tops[0].shape != self.steps[start].tops[0].shape:
                break
            if layer.passes_on:
                continue
            activation = layer.activation
            if activation is not None and packed_name(activation) is not None:
                if only is None or activation == only:
                    found.append(number)
                break
            if not (fold and layer.is_affine):
                break
            found.append(number)
        self._taken.update(found)
        name = self.steps[start].layer.name
        self.reasons.update(dict.fromkeys(found, f"joined with '{name}'"))
        return [self.steps[number] for number in found]


def note_fresh(fresh: set[int], made: Operation) -> None:
    """Keep account of the memories whose tensors nobody else has, over one more operation."""
    if made.is_fresh:
        fresh.update(made.writes)
    else:
        fresh.difference_update(made.reads, made.writes)
