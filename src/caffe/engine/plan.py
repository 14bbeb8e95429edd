"""The prepared plan: how a net runs when nobody needs its gradients.

Weights are packed once, convolutions take the in-place layers behind them along, pictures stay
channels-last from end to end, and a blob that nobody looks at is not written. Whoever looks at such
a blob gets it computed, from the inputs as they were at that forward. A blob that is looked at
after two forwards, or whose array somebody holds, is written by every later one.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..allocation import give_back_freed_memory, keep_freed_memory
from ..blob import Blob, Layout, Shape
from ..layers.layer import TEST
from ..memory import Store, SyncedMemory
from .fusion import operations
from .layerwise import Step, as_caffe_error
from .operations import Operation

SMALL = 2**12
"""Blobs of at most so many numbers are always written: that costs less than keeping account."""


@dataclass
class _Place:
    """One memory of the net, and what the plan knows of it.

    Attributes
    ----------
    shape : tuple of int
        The shape in which the last operation writes it.
    last : int
        The operation after which it holds its final value.
    is_kept : bool
        Whether it is written after each run, looked at or not.
    seen : int
        In how many runs it was looked at; from the second on it is written at once.
    """

    memory: weakref.ref[SyncedMemory]
    shape: Shape
    last: int
    is_kept: bool = False
    seen: int = 0
    computation: weakref.ref[_Computation] | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether its value is to be written at once, and not only when somebody looks."""
        memory = self.memory()
        return self.is_kept or self.seen >= 2 or (memory is not None and memory.is_lent)


@dataclass
class _Look:
    """A run repeated for somebody who looks at a blob: how far it has come, and its values."""

    position: int = 0
    values: dict[int, Tensor] = field(default_factory=dict)
    finals: dict[int, Tensor] = field(default_factory=dict)


class Plan:
    """One prepared way through the first steps of a net, mostly all.

    Parameters
    ----------
    steps : sequence of Step
        As many of the net's as `reach` says.
    rest : sequence of Step
        The others. What they read is always written.
    precision : torch.dtype
        What is computed in; blobs are float32 all the same.
    store : Store or None
        Where it is computed; on the CPU where there is none.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        rest: Sequence[Step],
        precision: torch.dtype,
        store: Store | None,
    ) -> None:
        if store is None:
            keep_freed_memory()
        self.precision = precision
        self.store = store
        self._operations = operations(steps, precision, store)
        blobs = blobs_of(steps)
        self._blobs = [(weakref.ref(blob.memory), blob.shape) for blob in blobs]
        self._layout = Layout.changes
        self._inputs: dict[int, tuple[weakref.ref[SyncedMemory], Shape]] = {}
        self._places: dict[int, _Place] = {}
        self._survey(
            {id(blob.memory): blob for blob in blobs},
            {id(blob.memory) for step in rest for blob in step.bottoms},
        )
        self._snapshot: dict[int, Tensor] = {}
        self._look: _Look | None = None
        self._looked_at: set[int] = set()
        # Operations whose parameters must be looked at before the next run.
        self._stale = set(range(len(self._operations)))
        self._users: dict[int, list[int]] = {}
        for i, operation in enumerate(self._operations):
            for blob in operation.params:
                self._users.setdefault(id(blob.memory), []).append(i)
                blob.memory.watch(self)
        weakref.finalize(self, give_back_freed_memory)

    def _survey(self, blobs: dict[int, Blob], read_by_rest: set[int]) -> None:
        """Find the inputs, and when each memory is written and read for the last time."""
        last_use: dict[int, int] = {}
        for i, operation in enumerate(self._operations):
            for key, shape in zip(operation.reads, operation.read_shapes, strict=True):
                if key not in self._places and key not in self._inputs:
                    self._inputs[key] = weakref.ref(blobs[key].memory), shape
                last_use[key] = i
            for key, shape in zip(operation.writes, operation.shapes, strict=True):
                place = self._places.setdefault(
                    key, _Place(weakref.ref(blobs[key].memory), shape, i)
                )
                place.shape, place.last = shape, i
        for key, place in self._places.items():
            is_output = last_use.get(key, -1) <= place.last
            place.is_kept = (
                (is_output and key not in self._operations[place.last].hidden)
                or key in read_by_rest
                or math.prod(place.shape) <= SMALL
            )
        self._final = [
            [(key, self._places[key]) for key in operation.writes if self._places[key].last == i]
            for i, operation in enumerate(self._operations)
        ]
        self._released = [
            [k for k in {*operation.reads, *operation.writes} if last_use.get(k, i) <= i]
            for i, operation in enumerate(self._operations)
        ]

    @staticmethod
    def reach(steps: Sequence[Step]) -> int:
        """Tell how many of a net's steps, from the first on, can be run by a plan."""
        if any(step.need_backward or step.layer.phase != TEST for step in steps):
            return 0
        for i, step in enumerate(steps):
            if not step.layer.is_pure or (step.layer.on_blobs and step.bottoms):
                return i
        return len(steps)

    def fits(self, blobs: Sequence[Blob], precision: torch.dtype, store: Store | None) -> bool:
        """Tell whether the net's `blobs` and the modes are still what the plan was made for."""
        if precision != self.precision or store != self.store:
            return False
        if self._layout != Layout.changes:
            if not all(
                blob.memory is memory() and blob.shape == shape
                for blob, (memory, shape) in zip(blobs, self._blobs, strict=True)
            ):
                return False
            self._layout = Layout.changes
        return True

    def run(self) -> None:
        """Compute all tops; those that nobody looks at are left to be computed when looked at."""
        for key in self._looked_at:
            self._places[key].seen += 1
        self._looked_at.clear()
        self._look = None
        self._refresh()
        self._snapshot = {key: self._prepared(*where) for key, where in self._inputs.items()}
        values = dict(self._snapshot)
        changeable = self._changeable()
        for i, operation in enumerate(self._operations):
            final = self._final[i]
            at_once = [place.is_wanted or key in changeable for key, place in final]
            apart = operation.hidden and any(
                wanted and key in operation.hidden
                for (key, _), wanted in zip(final, at_once, strict=True)
            )
            self._run(operation, values, apart=bool(apart))
            for (key, place), is_wanted in zip(final, at_once, strict=True):
                memory = place.memory()
                if memory is None:
                    continue
                if is_wanted:
                    memory.put(self._as_blob(values[key]), self.store)
                else:
                    memory.defer(math.prod(place.shape), self._computation(key, place))
            for key in self._released[i]:
                values.pop(key, None)

    def _refresh(self) -> None:
        """Prepare the parameters anew that have changed, or may have."""
        self._stale = {i for i in self._stale if self._operations[i].refresh()}

    def _changeable(self) -> set[int]:
        """Find the memories whose values, computed later, might be others than now."""
        found: set[int] = set()
        # Whoever holds a parameter's array keeps its operation stale.
        if any(self._operations[i].may_change_unseen for i in self._stale):
            for operation in self._operations:
                if operation.may_change_unseen or found.intersection(operation.reads):
                    found.update(operation.writes)
        return found

    def _computation(self, key: int, place: _Place) -> _Computation:
        """Return what computes a memory; the plan must not keep what keeps the plan."""
        computation = None if place.computation is None else place.computation()
        if computation is None:
            computation = _Computation(self, key)
            place.computation = weakref.ref(computation)
        return computation

    @staticmethod
    def _run(operation: Operation, values: dict[int, Tensor], apart: bool) -> None:
        try:
            if apart:
                operation.run_apart(values)
            else:
                operation.run(values)
        except Exception as error:
            raise as_caffe_error(error, operation.label, operation.facts()) from error

    def before_change(self, memory: SyncedMemory) -> None:
        """Compute what is left to be computed from a parameter that is about to change."""
        users = self._users.get(id(memory), ())
        self._stale.update(users)
        first = min((i for i in users if self._operations[i].has_raw_params), default=None)
        if first is None:
            return
        looked_at = set(self._looked_at)
        for place in self._places.values():
            memory_of_place = place.memory()
            if place.last >= first and memory_of_place is not None and memory_of_place.is_deferred:
                memory_of_place.cpu()
        self._looked_at = looked_at

    def _prepared(self, memory: weakref.ref[SyncedMemory], shape: Shape) -> Tensor:
        """Copy an input into the plan's layout and precision."""
        source = memory()
        assert source is not None
        values = source.read(self.store)[: math.prod(shape)].view(shape)
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        prepared = torch.empty(
            shape, dtype=self.precision, device=values.device, memory_format=layout
        )
        return prepared.copy_(values)

    def _as_blob(self, value: Tensor) -> Tensor:
        flat = torch.empty(value.shape, dtype=torch.float32, device=value.device)
        return flat.copy_(value).view(-1)

    def compute(self, key: int) -> Tensor:
        """Compute a memory's values again, from the inputs as they were at the last run."""
        look = self._look
        if look is None:
            look = self._look = _Look(values=dict(self._snapshot))
        place = self._places[key]
        self._looked_at.add(key)
        with torch.no_grad():
            while look.position <= place.last:
                operation = self._operations[look.position]
                self._run(operation, look.values, apart=True)
                for written in operation.writes:
                    if self._places[written].last == look.position:
                        look.finals[written] = look.values[written]
                look.position += 1
        values = self._as_blob(look.finals.pop(key))
        return values if self.store is None else self.store.download(values)


@dataclass(eq=False)
class _Computation:
    """What a deferred memory calls when somebody looks."""

    plan: Plan
    key: int

    def __call__(self) -> Tensor:
        return self.plan.compute(self.key)


def blobs_of(steps: Sequence[Step]) -> list[Blob]:
    """Return each blob and parameter of the steps once."""
    blobs = (blob for s in steps for blob in (*s.bottoms, *s.tops, *s.layer.blobs))
    return list({id(blob): blob for blob in blobs}.values())
