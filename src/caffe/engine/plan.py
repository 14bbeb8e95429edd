"""The prepared plan: how a net runs when nobody needs its gradients.

Weights are packed once, convolutions take the in-place layers behind them along, pictures stay
channels-last from end to end, and a blob that nobody looks at is not written. Whoever looks at such
a blob gets it computed, from the inputs as they were at that forward. A blob that is looked at
after two forwards, or whose array somebody holds, is written by every later one.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..memory.allocation import give_back_freed_memory, keep_freed_memory
from ..memory.blob import Blob, Layout, Shape
from ..memory.stores import Store
from ..memory.synced import SyncedMemory
from ..phases import TEST
from .backends.choice import Choice
from .fusion import operations
from .layerwise import Step, as_caffe_error
from .operations import Operation, Values, picture_layout

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
    count: int = 0
    computation: weakref.ref[_Computation] | None = None

    def is_wanted(self, memory: SyncedMemory) -> bool:
        """Whether its value is to be written at once, and not only when somebody looks."""
        return self.is_kept or self.seen >= 2 or memory.is_lent


_Found = tuple[int, _Place, SyncedMemory]


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
    engine : {"auto", "torch", "openvino"}
        By what it is computed. "auto" tries OpenVINO on the CPU, where it is installed, once
        shapes and weights have stayed the same for some runs, and keeps what is faster.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        rest: Sequence[Step],
        precision: torch.dtype,
        store: Store | None,
        engine: str,
    ) -> None:
        if store is None:
            keep_freed_memory()
        self.precision = precision
        self.store = store
        self.engine = engine
        self._layout_of_pictures = picture_layout(precision, store)
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
        # Operations whose parameters PyTorch must prepare before it runs them next: they may have
        # changed, or (these also before a look) have not been prepared, or not been kept.
        self._stale = set(range(len(self._operations)))
        self._unprepared = set(self._stale)
        self._users: dict[int, list[int]] = {}
        for i, operation in enumerate(self._operations):
            for blob in operation.params:
                self._users.setdefault(id(blob.memory), []).append(i)
                blob.memory.watch(self)
        self._choice = Choice(self._operations, engine, precision, store)
        self._prepare_for_choice()
        weakref.finalize(self, give_back_freed_memory)

    def _prepare_for_choice(self) -> None:
        """Find what must come out of the operations that may be run as one."""
        count = self._choice.count
        first, later = self._operations[:count], self._operations[count:]
        for i, operation in enumerate(self._operations):
            # What OpenVINO packs need not be packed for PyTorch.
            operation.is_worth_packing = i >= count
        written = {key for operation in first for key in operation.writes}
        read = {key for operation in later for key in operation.reads}
        self._read_later = read & written
        self._inputs_read_later = read & self._inputs.keys()
        self._first_final = [pair for final in self._final[:count] for pair in final]

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
                is_output and key not in self._operations[place.last].hidden
            ) or key in read_by_rest
            place.count = math.prod(place.shape)
        self._small = {key for key, place in self._places.items() if place.count <= SMALL}
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

    def fits(
        self, blobs: Sequence[Blob], precision: torch.dtype, store: Store | None, engine: str
    ) -> bool:
        """Tell whether the net's `blobs` and the modes are still what the plan was made for."""
        if (precision, store, engine) != (self.precision, self.store, self.engine):
            return False
        if self._layout_of_pictures != picture_layout(precision, store):
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
        start = time.perf_counter()
        was_prepared = bool(self._choice.count) and self._run_prepared()
        if not was_prepared:
            self._refresh()
            self._snapshot = {
                key: self._laid_out(self._value(*where)) for key, where in self._inputs.items()
            }
            self._run_operations(0, dict(self._snapshot))
        count = self._choice.count
        self._choice.judge(was_prepared, time.perf_counter() - start)
        if self._choice.count != count:
            self._prepare_for_choice()

    def _run_operations(self, start: int, values: Values) -> None:
        """Run the operations from `start` on."""
        changeable = self._changeable() | self._small
        for i in range(start, len(self._operations)):
            operation, final = self._operations[i], self._final[i]
            kept, others = self._sorted(final, changeable)
            apart = bool(operation.hidden) and any(key in operation.hidden for key, *_ in kept)
            self._run(operation, values, apart=apart)
            for key, _, memory in kept:
                memory.put(self._as_blob(values[key]), self.store)
            self._defer(others)
            for key in self._released[i]:
                values.pop(key, None)

    def _sorted(
        self, final: Sequence[tuple[int, _Place]], also: Container[int] = ()
    ) -> tuple[list[_Found], list[_Found]]:
        """Part memories that are to be written from those that are left until somebody looks."""
        kept: list[_Found] = []
        others: list[_Found] = []
        for key, place in final:
            memory = place.memory()
            if memory is not None:
                is_kept = key in also or place.is_wanted(memory)
                (kept if is_kept else others).append((key, place, memory))
        return kept, others

    def _defer(self, found: Sequence[_Found]) -> None:
        for key, place, memory in found:
            memory.defer(place.count, self._computation(key, place))

    def _run_prepared(self) -> bool:
        """Run as one what can be; returns whether that was worth it."""
        if not self._choice.is_quiet():
            return False
        kept, others = self._sorted(self._first_final)
        wanted = {key for key, *_ in kept} | self._read_later
        inputs = {key: self._value(*where) for key, where in self._inputs.items()}
        if self._choice.keeps_torch_ready:
            self._refresh()
            inputs = {key: self._laid_out(value) for key, value in inputs.items()}
        prepared = self._choice.prepared(wanted, inputs, self._before_preparing)
        if prepared is None or not prepared.take(inputs):
            return False
        self._snapshot = {
            key: prepared.inputs[key] if key in prepared.inputs else self._laid_out(value)
            for key, value in inputs.items()
        }
        values = prepared.run()
        for key, place, memory in kept:
            memory.put(self._as_blob(values[key].view(place.shape)), self.store)
        self._defer(others)
        if self._choice.count < len(self._operations):
            self._refresh(self._choice.count)
            rest = {key: self._laid_out(self._snapshot[key]) for key in self._inputs_read_later}
            self._run_operations(self._choice.count, {**rest, **values})
        return True

    def _before_preparing(self) -> None:
        """Drop what PyTorch has prepared and kept for operations that OpenVINO takes over."""
        if self._choice.keeps_torch_ready:
            return
        released = set(range(self._choice.count))
        for i in released - self._unprepared:
            self._operations[i].release()
        self._unprepared |= released
        self._stale |= released
        give_back_freed_memory()

    def _refresh(self, start: int = 0) -> None:
        """Prepare for PyTorch what parameters have changed, from an operation on."""
        due = {i for i in self._stale if i >= start}
        self._stale = {i for i in self._stale if i < start or self._operations[i].refresh()}
        self._unprepared -= due

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
        self._choice.parameter_changes(users)
        for i in self._unprepared.intersection(users):
            self._operations[i].refresh()
            self._unprepared.discard(i)
        first = min((i for i in users if self._operations[i].has_raw_params), default=None)
        if first is None:
            return
        looked_at = set(self._looked_at)
        for place in self._places.values():
            memory_of_place = place.memory()
            if place.last >= first and memory_of_place is not None and memory_of_place.is_deferred:
                memory_of_place.cpu()
        self._looked_at = looked_at

    def _value(self, memory: weakref.ref[SyncedMemory], shape: Shape) -> Tensor:
        """Return what an input holds."""
        source = memory()
        assert source is not None
        return source.read(self.store)[: math.prod(shape)].view(shape)

    def _laid_out(self, values: Tensor) -> Tensor:
        """Copy values into the plan's layout and precision."""
        layout = self._layout_of_pictures if values.dim() == 4 else torch.contiguous_format
        copy = torch.empty(
            values.shape, dtype=self.precision, device=values.device, memory_format=layout
        )
        return copy.copy_(values)

    def _as_blob(self, value: Tensor) -> Tensor:
        flat = torch.empty(value.shape, dtype=torch.float32, device=value.device)
        return flat.copy_(value).view(-1)

    def compute(self, key: int) -> Tensor:
        """Compute a memory's values again, from the inputs as they were at the last run."""
        look = self._look
        for i in self._unprepared:
            # What the last run had was dropped; no parameter has changed since.
            self._operations[i].refresh()
        self._unprepared.clear()
        if look is None:
            values = {key: self._laid_out(value) for key, value in self._snapshot.items()}
            look = self._look = _Look(values=values)
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
        value = self._as_blob(look.finals.pop(key))
        return value if self.store is None else self.store.download(value)


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
