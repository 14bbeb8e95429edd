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

from ..blob import Blob, Shape
from ..layers.layer import TEST
from ..memory import Store, SyncedMemory
from .allocation import give_back_freed_memory, keep_freed_memory
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
        The operation after which it holds its final value (-1: it is an input).
    is_output : bool
        Whether nothing reads the final value.
    seen : int
        In how many runs it was looked at; from the second on it is written at once.
    """

    memory: weakref.ref[SyncedMemory]
    shape: Shape
    last: int
    is_output: bool = True
    seen: int = 0
    looked_at: bool = False


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
        self._blobs = [(weakref.ref(blob.memory), blob.shape) for blob in blobs_of(steps)]
        self._inputs: dict[int, tuple[weakref.ref[SyncedMemory], Shape]] = {}
        self._places: dict[int, _Place] = {}
        self._last_use: dict[int, int] = {}
        self._always = {id(blob.memory) for step in rest for blob in step.bottoms}
        self._survey({id(blob.memory): blob for blob in blobs_of(steps)})
        self._snapshot: dict[int, Tensor] = {}
        self._look: _Look | None = None
        for operation in self._operations:
            for blob in operation.params:
                blob.memory.before_write = _WeakCall(weakref.ref(self), "settle")
        weakref.finalize(self, give_back_freed_memory)

    def _survey(self, blobs: dict[int, Blob]) -> None:
        """Find the inputs, and when each memory is written and read for the last time."""
        for i, operation in enumerate(self._operations):
            for key, shape in zip(operation.reads, operation.read_shapes, strict=True):
                if key not in self._places and key not in self._inputs:
                    self._inputs[key] = weakref.ref(blobs[key].memory), shape
                self._last_use[key] = i
            for key, shape in zip(operation.writes, operation.shapes, strict=True):
                place = self._places.setdefault(
                    key, _Place(weakref.ref(blobs[key].memory), shape, i)
                )
                place.shape, place.last = shape, i
        for key, place in self._places.items():
            place.is_output = self._last_use.get(key, -1) <= place.last

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
        return (
            precision == self.precision
            and store == self.store
            and all(
                blob.memory is memory() and blob.shape == shape
                for blob, (memory, shape) in zip(blobs, self._blobs, strict=True)
            )
        )

    def run(self) -> None:
        """Compute all tops; those that nobody looks at are left to be computed when looked at."""
        for place in self._places.values():
            place.seen += place.looked_at
            place.looked_at = False
        self._look = None
        for operation in self._operations:
            operation.refresh()
        self._snapshot = {key: self._prepared(*where) for key, where in self._inputs.items()}
        values = dict(self._snapshot)
        changeable: set[int] = set()
        for i, operation in enumerate(self._operations):
            if changeable.intersection(operation.reads) or operation.may_change_unseen:
                changeable.update(operation.writes)
            at_once = [key for key in operation.writes if self._is_wanted(key, i, changeable)]
            self._run(operation, values, apart=any(key in at_once for key in operation.hidden))
            for key in operation.writes:
                place = self._places[key]
                memory = place.memory()
                if memory is None or place.last != i:
                    continue
                if key in at_once:
                    memory.put(self._as_blob(values[key]), self.store)
                else:
                    memory.defer(math.prod(place.shape), _Computation(self, key))
            for key in (*operation.reads, *operation.writes):
                if self._last_use.get(key, i) <= i:
                    values.pop(key, None)

    def _is_wanted(self, key: int, position: int, changeable: set[int]) -> bool:
        """Whether a memory's final value is to be written at once."""
        place = self._places[key]
        if place.last != position:
            return False
        memory = place.memory()
        return (
            (place.is_output and key not in self._operations[position].hidden)
            or key in self._always
            or key in changeable
            or place.seen >= 2
            or math.prod(place.shape) <= SMALL
            or (memory is not None and memory.is_lent)
        )

    @staticmethod
    def _run(operation: Operation, values: dict[int, Tensor], apart: bool) -> None:
        try:
            if apart:
                operation.run_apart(values)
            else:
                operation.run(values)
        except Exception as error:
            raise as_caffe_error(error, operation.label, operation.facts()) from error

    def settle(self) -> None:
        """Compute what is still left to be computed; a parameter is about to change."""
        for place in self._places.values():
            memory = place.memory()
            if memory is not None and memory.is_deferred:
                memory.cpu()
                place.looked_at = False

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
        place.looked_at = True
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


@dataclass
class _Computation:
    """What a deferred memory calls when somebody looks."""

    plan: Plan
    key: int

    def __call__(self) -> Tensor:
        return self.plan.compute(self.key)


@dataclass
class _WeakCall:
    """A method of a plan that does not keep the plan alive."""

    plan: weakref.ref[Plan]
    name: str

    def __call__(self) -> None:
        plan = self.plan()
        if plan is not None:
            getattr(plan, self.name)()


def blobs_of(steps: Sequence[Step]) -> list[Blob]:
    """Return each blob and parameter of the steps once."""
    blobs = (blob for s in steps for blob in (*s.bottoms, *s.tops, *s.layer.blobs))
    return list({id(blob): blob for blob in blobs}.values())
