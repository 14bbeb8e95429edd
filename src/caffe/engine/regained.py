"""Gradients that a step of training has let go, computed again for whoever looks at them."""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .. import mode
from ..memory.blob import Blob, Shape
from ..memory.stores import Store
from ..memory.synced import SyncedMemory
from ..pytorch import torch
from ..vectors import BlobVec, RawBlobVec
from .joined import Joined
from .steps import Step

if TYPE_CHECKING:
    from torch import Tensor

WORTH = 2**25
"""From how many bytes of gradients on they are let go: with less, a step is too short for the
account that has to be kept."""

SHARE = 4
"""How many times the bytes of the parameters they must have, of which a copy is kept instead."""


class Passes(Protocol):
    """What runs steps forward and backward."""

    def forward(self, store: Store | None) -> Any:
        """Compute the tops."""
        ...

    def backward(self, store: Store | None) -> None:
        """Compute the gradients."""
        ...


def is_worth_it(steps: Sequence[Step]) -> bool:
    """Whether gradients by tops take much memory, and the parameters that a step changes little."""
    gradients = {
        id(top.diff_memory): 4 * top.count
        for step in steps
        if step.need_backward
        for top in step.tops
    }
    learned = {
        id(blob.memory): 4 * blob.count
        for step in steps
        for blob, need in zip(step.layer.blobs, step.node.param_need_backward, strict=True)
        if need
    }
    return sum(gradients.values()) >= max(WORTH, SHARE * sum(learned.values()))


def can_be_repeated(steps: Sequence[Step]) -> bool:
    """Whether a forward and backward can be done once more, with the same results.

    The layers have to say so, and what the sources gave must not have been written over in place.
    """
    sources = [step for step in steps if not step.bottoms]
    others = [step for step in steps if step.bottoms]
    in_place = {id(top.memory) for step in others if step.is_in_place for top in step.tops}
    return (
        not any(step.layer.blobs for step in sources)
        and not any(id(top.memory) in in_place for step in sources for top in step.tops)
        and all(
            step.layer.repeats and not step.layer.on_blobs and not step.layer.is_patched
            for step in others
        )
    )


def written_first(units: Sequence[Step | Joined]) -> list[list[Blob]]:
    """Return for each unit the tops whose diff no unit before it, nor it itself, adds to.

    Once a unit's gradients are there, nobody needs those any more.
    """
    known: set[int] = set()
    found = []
    for unit in units:
        tops = {id(blob.diff_memory): blob for step in unit.steps for blob in step.tops}
        known.update(id(blob.diff_memory) for blob in unit.steps[0].bottoms)
        found.append([blob for key, blob in tops.items() if key not in known])
        known.update(tops)
    return found


class _Given:
    """Values that the passes begin with: of a source's top, or of a parameter.

    Parameters
    ----------
    blob : Blob
        Who has them. What becomes of it is of no matter, only what becomes of its memory.
    store : Store or None
        Where they are needed.
    """

    def __init__(self, blob: Blob, store: Store | None) -> None:
        self._blob = Blob(blob.shape)
        self._blob.share_data(blob)
        self._store = store
        self._kept: Tensor | None = None
        if self.memory.is_lent:
            # Whoever holds the array may write into it at any time.
            self.keep()

    @property
    def memory(self) -> SyncedMemory:
        return self._blob.memory

    def values(self) -> Tensor:
        """Return them as they were, to be read."""
        return self._blob.formed_data(self._store) if self._kept is None else self._kept

    def keep(self) -> None:
        """Take them, since the memory is about to hold others."""
        if self._kept is None:
            self._kept = self.values().clone()


class Regained:
    """What forward and backward of a step began with, so that both can be done again.

    It has the sources' tops, the parameters, and the layers as they are now, with the random
    numbers that they have drawn. It reads the values where the blobs have them, and takes copies of
    what is about to change: of the parameters, when the step's update comes.

    Parameters
    ----------
    steps : sequence of Step
        All of a net's; forward has run.
    store : Store or None
        Where.
    passes : callable
        Makes of steps what runs them.

    Attributes
    ----------
    is_looked_at : bool
        Whether somebody has looked at a gradient that was let go.
    """

    def __init__(
        self, steps: Sequence[Step], store: Store | None, passes: Callable[[Sequence[Step]], Passes]
    ) -> None:
        self._store, self._passes, self._chosen = store, passes, mode.chosen()
        self._lock = threading.RLock()
        self._shapes: dict[int, Shape] = {}
        self._tops: dict[int, _Given] = {}
        self._parameters: dict[int, _Given] = {}
        self._top_diffs: dict[int, Tensor] = {}
        # Of the blobs themselves only numbers are kept: they hold this.
        self._steps: list[tuple[Step, list[int], list[int]]] = []
        for step in steps:
            self._add(step)
        # What the backward pass reads and no layer behind has written: loss weights, and gradients
        # that somebody has given.
        written: set[int] = set()
        for step in reversed([step for step in steps if step.need_backward]):
            for top in step.tops:
                if id(top.diff_memory) not in written and not top.has_no_diff:
                    self._top_diffs[id(top)] = top.formed_diff(store).clone()
            pairs = zip(step.bottoms, step.needs(), strict=False)
            written.update(id(blob.diff_memory) for blob, need in pairs if need)
        self._watched: dict[int, list[_Given]] = defaultdict(list)
        for given in (*self._tops.values(), *self._parameters.values()):
            self._watched[id(given.memory)].append(given)
            given.memory.watch(self)
        self._found: dict[int, Tensor] | None = None
        self.is_looked_at = False

    def _add(self, step: Step) -> None:
        for blob in (*step.bottoms, *step.tops):
            self._shapes[id(blob)] = blob.shape
        if not step.bottoms:
            self._tops |= {id(top): _Given(top, self._store) for top in step.tops}
            return
        for blob in step.layer.blobs:
            self._parameters[id(blob)] = _Given(blob, self._store)
        layer = copy.copy(step.layer)
        own = step.beside(layer)
        self._steps.append((own, [id(b) for b in step.bottoms], [id(t) for t in step.tops]))

    def before_change(self, memory: SyncedMemory) -> None:
        """Take the values that are needed of a memory."""
        # Another thread may be computing from these values.
        with self._lock:
            for given in self._watched[id(memory)]:
                given.keep()

    def let_go(self, blobs: Sequence[Blob]) -> None:
        """Let blobs' diffs be computed again when somebody looks, unless somebody holds them."""
        for blob in blobs:
            memory = blob.diff_memory
            if memory.is_as_computed:
                blob.defer_diff(partial(self._diff, id(blob)))
                memory.note_computed()

    def _diff(self, key: int) -> Tensor:
        with self._lock:
            self.is_looked_at = True
            if self._found is None:
                blobs = self._again()
                self._found = {key: blob.diff_tensor(self._store) for key, blob in blobs.items()}
                # All that may be asked for is there.
                for kept in (self._watched, self._tops, self._parameters, self._top_diffs):
                    kept.clear()
                self._steps.clear()
            return self._found[key].clone()

    def _again(self) -> dict[int, Blob]:
        """Do forward and backward again on blobs beside the net's; return these."""
        blobs = {key: Blob(shape) for key, shape in self._shapes.items()}
        for key, given in self._tops.items():
            blobs[key].put_data(given.values(), self._store)
        steps = []
        for step, bottoms, tops in self._steps:
            layer = copy.copy(step.layer)
            layer.blobs = BlobVec(self._parameter(blob) for blob in layer.blobs)
            layer.runs_again = True
            own = step.beside(layer)
            own.bottoms = RawBlobVec(blobs[key] for key in bottoms)
            own.tops = RawBlobVec(blobs[key] for key in tops)
            steps.append(own)
        passes = self._passes(steps)
        with mode.computing_as(self._chosen), torch.no_grad():
            passes.forward(self._store)
            # Not before: some tops have their bottoms' diffs only from now on.
            for key, values in self._top_diffs.items():
                blobs[key].put_diff(values, self._store)
            passes.backward(self._store)
        return blobs

    def _parameter(self, blob: Blob) -> Blob:
        beside = Blob(blob.shape)
        beside.put_data(self._parameters[id(blob)].values(), self._store)
        return beside
