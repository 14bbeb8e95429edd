"""The prepared plan: how layers run when nobody needs their gradients.

Weights are packed once, convolutions take the in-place layers behind them along, pictures stay
channels-last from end to end, and a blob that nobody looks at is not written. Whoever looks at such
a blob gets it computed, from the inputs as they were at that forward. A blob that is looked at
after two forwards, or whose array somebody holds, is written by every later one.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterable, Sequence
from traceback import clear_frames
from typing import TYPE_CHECKING

from ... import mode
from ...errors import CaffeError, OutOfMemoryError
from ...layers.asking import are_finite
from ...memory.allocation import FreedMemory, give_back_freed_memory, returning_memory
from ...memory.blob import Blob, Layout
from ...memory.synced import SyncedMemory
from ...processes import in_forked_child
from ...pytorch import torch
from ...waiting import Timed
from ..backends.backend import Compiled
from ..backends.choice import Choice, backends_for, is_worth_trying, stretches
from ..steps import Step
from . import convolution, lrn, max_pool, product, summing  # noqa: F401 (their rules enter)
from .builder import Builder
from .looks import Look, Looks
from .operation import Operation, Values
from .settings import Settings
from .stretch import Stretch
from .summing import let_sums_take_places
from .survey import SMALL, Finals, Survey, parted

if TYPE_CHECKING:
    from torch import Tensor


class Plan:
    """One prepared way through some of a net's layers.

    Parameters
    ----------
    steps : sequence of Step
        The layers, one after the other: pure ones at TEST.
    read_elsewhere : set of int
        The memories that the net's other layers read: these are always written.
    settings : Settings
        In what, where and by what it is computed. "auto" tries what libraries are
        installed on the CPU, once shapes and weights have stayed the same for some runs, and keeps
        what is quickest.

    Attributes
    ----------
    need : int
        How many bytes the blobs have that it writes.
    """

    def __init__(self, steps: Sequence[Step], read_elsewhere: set[int], settings: Settings) -> None:
        self._settings, self._chosen = settings, mode.chosen()
        self._store = settings.store
        # One thread may run the net while another looks at its blobs, or saves it.
        self._lock = threading.RLock()
        builder = Builder(steps, settings)
        self._operations = builder.build()
        self._reasons = builder.reasons
        let_sums_take_places(self._operations)
        self._layers = [step.layer for step in steps]
        blobs = blobs_of(steps)
        self._blobs = [(weakref.ref(blob.memory), blob.shape) for blob in blobs]
        self._layout = Layout(blobs)
        self._survey = Survey(
            self._operations, {id(blob.memory): blob for blob in blobs}, read_elsewhere
        )
        sizes = [4 * kept.count for kept in self._survey.written.values()]
        self.need, largest = sum(sizes), max(sizes, default=0)
        self._freed_memory = FreedMemory(self.need, largest if settings.store is None else 0)
        self._small = {key for key, kept in self._survey.written.items() if kept.is_small}
        self._snapshot: Values = {}
        self._is_whole = False
        self._has_odd_sources = False
        self._keeps_nan = False
        parts = (part for made in self._operations for part in made.parts)
        self._makes_nan = not all(part.layer.stays_finite for part in parts)
        self._in_use: list[Compiled] = []
        self._looks = Looks(self._survey.written, self._compute)
        # Operations whose parameters PyTorch must pack before it runs them next: they may have
        # changed, or (these also before a look) have not been packed, or not been kept.
        self._stale = set(range(len(self._operations)))
        self._unpacked = set(self._stale)
        self._users: dict[int, list[int]] = {}
        for i, operation in enumerate(self._operations):
            for blob in operation.params:
                self._users.setdefault(id(blob.memory), []).append(i)
                blob.memory.watch(self)
        self._stretches = self._part()
        weakref.finalize(self, give_back_freed_memory)
        _plans.add(self)

    def renew_lock(self) -> None:
        """Let nobody hold the lock: in a forked process those who did are no more."""
        self._lock = threading.RLock()

    def _part(self) -> list[Stretch]:
        """Part the operations into stretches by what can run them."""
        self._backends = backends_for(self._settings)
        found: list[Stretch] = []
        last_read = {key: i for i, made in enumerate(self._operations) for key in made.reads}
        start = 0
        for end, backends in stretches(self._operations, self._backends):
            mine = self._operations[start:end]
            written: set[int] = set()
            reads: dict[int, None] = {}
            for operation in mine:
                reads.update(dict.fromkeys(key for key in operation.reads if key not in written))
                written.update(operation.writes)
            later = {key for key in written if last_read.get(key, -1) >= end}
            is_small = not is_worth_trying(mine, self._settings)
            choice = Choice(mine, backends, self._settings) if backends and not is_small else None
            finals = [final for i in range(start, end) for final in self._survey.finals[i]]
            released = {key for i in range(start, end) for key in self._survey.released[i]}
            found.append(
                Stretch(start, end, choice, list(reads), later, finals, released, is_small)
            )
            start = end
            for operation in mine:
                # What a backend packs need not be packed for PyTorch, unless they are compared.
                operation.is_worth_packing = choice is None or choice.chosen is None
        return found

    def fits(self, blobs: Sequence[Blob], settings: Settings) -> bool:
        """Tell whether the net's `blobs` and the modes are still what the plan was made for."""
        if settings != self._settings:
            return False
        if self._layout.has_changed:
            if not all(
                blob.memory is memory() and blob.shape == shape
                for blob, (memory, shape) in zip(blobs, self._blobs, strict=True)
            ):
                return False
            self._layout.has_changed = False
        return True

    def explain(self) -> list[str]:
        """Say of each step what runs it, and why not otherwise."""
        reasons = [self._reasons.get(i, "") for i in range(len(self._layers))]
        numbers = {id(layer): i for i, layer in enumerate(self._layers)}
        for stretch in self._stretches:
            for i in stretch.numbers:
                operation = self._operations[i]
                first, note = stretch.notes(operation, self._backends)
                reasons[numbers[id(operation.parts[0].layer)]] += first
                for part in operation.parts:
                    reasons[numbers[id(part.layer)]] += note
            first_layer = self._operations[stretch.start].parts[0].layer
            reasons[numbers[id(first_layer)]] += stretch.verdict
        return reasons

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be tried: the next runs are as quick as they will be."""
        return all(stretch.is_settled(self._operations) for stretch in self._stretches)

    # Running.

    def run(self) -> None:
        """Compute all tops; those that nobody looks at are left to be computed when looked at."""
        with self._lock, self._freed_memory:
            if not (self._looks.start_run() and self._is_whole):
                for stretch in self._stretches:
                    stretch.kept = None
            # What is left to be computed needs a run that has come to its end.
            self._is_whole = False
            try:
                self._run_stretches()
                self._is_whole = True
            except OutOfMemoryError as error:
                # While it is handled it would hold what was computed until then.
                clear_frames(error.__traceback__)
                raise
            finally:
                self._in_use.clear()

    def _run_stretches(self) -> None:
        self._snapshot = {}
        self._has_odd_sources = False
        sources: Values = {}
        values: Values = {}
        for stretch in self._stretches:
            with self._operations[stretch.start].memory_told():
                sources = sources or {
                    key: self._read(*source) for key, source in self._survey.sources.items()
                }
                if stretch.choice is None:
                    self._run_one_by_one(stretch, sources, values)
                else:
                    self._run_by_choice(stretch, stretch.choice, sources, values)
                    self._follow(stretch, stretch.choice)

    def _run_by_choice(
        self, stretch: Stretch, choice: Choice, sources: Values, values: Values
    ) -> None:
        """Run a stretch by what is chosen, after compiling that if it is due."""
        kept, others = stretch.parted()
        wanted = {key for key, *_ in kept} | stretch.read_later
        backend = choice.due if choice.is_due(wanted) else None
        if backend is not None:
            if not (choice.is_asked_for or backend.needs_torch):
                self._run_and_compile(stretch, choice, wanted, (kept, others), sources, values)
                return
            inputs = self._inputs_of(stretch, backend.needs_torch, sources, values)
            self._compile(stretch, choice, wanted, inputs)
        with Timed(counts=not choice.is_settled) as timed:
            ran = self._run_stretch(stretch, choice, (kept, others), sources, values)
        choice.judge(ran, timed.seconds, timed.is_disturbed)

    def _run_stretch(
        self,
        stretch: Stretch,
        choice: Choice,
        finals: Finals,
        sources: Values,
        values: Values,
    ) -> Compiled | None:
        """Run a stretch by what is to run it now; return what did, None where it was PyTorch."""
        compiled = choice.ready
        if compiled is not None:
            if choice.chosen is not None and choice.chosen.needs_torch:
                self._refresh(stretch.numbers)
            # It takes what there is into its own layout and precision.
            inputs = self._inputs_of(stretch, False, sources, values)
            if self._run_as_one(stretch, compiled, inputs, finals, values):
                return compiled
        self._run_one_by_one(stretch, sources, values)
        return None

    def _run_one_by_one(self, stretch: Stretch, sources: Values, values: Values) -> None:
        self._refresh(stretch.numbers)
        self._lay_out(stretch.reads, sources, values)
        self._heed_nan()
        changeable = self._changeable() | self._small
        for i in stretch.numbers:
            operation = self._operations[i]
            kept, others = parted(self._survey.finals[i], changeable)
            apart = bool(operation.hidden) and any(key in operation.hidden for key, *_ in kept)
            with operation.blame():
                (operation.run_apart if apart else operation.run)(values)
                for key, _, memory in kept:
                    memory.put(self._as_blob(values[key]), self._store)
            for key, _, memory in others:
                self._looks.defer(key, memory)
            for key in self._survey.released[i]:
                values.pop(key, None)

    def _inputs_of(
        self, stretch: Stretch, needs_torch: bool, sources: Values, values: Values
    ) -> Values:
        """Return what a stretch starts from, as its backend takes it."""
        if needs_torch:
            self._refresh(stretch.numbers)
            self._lay_out(stretch.reads, sources, values)
        return {key: values[key] if key in values else sources[key] for key in stretch.reads}

    def _compile(
        self, stretch: Stretch, choice: Choice, wanted: set[int], inputs: Values
    ) -> Compiled | None:
        self._follow(stretch, choice)
        if choice.due is not None and not choice.due.needs_torch:
            # To pack it once more, if it is needed, takes less than both ways' weights at once.
            self._release(stretch.numbers)
        return choice.compile(wanted, inputs)

    def _run_and_compile(
        self,
        stretch: Stretch,
        choice: Choice,
        wanted: set[int],
        finals: Finals,
        sources: Values,
        values: Values,
    ) -> None:
        """Run a stretch as until now, then have it compiled, and compare what that computes."""
        inputs = {key: values[key].clone() for key in stretch.reads if key in values}
        operations = [self._operations[i] for i in stretch.numbers]
        try:
            for operation in operations:
                operation.is_exact = True
            self._run_stretch(stretch, choice, finals, sources, values)
        finally:
            for operation in operations:
                operation.is_exact = False
        inputs.update((key, self._snapshot[key]) for key in stretch.reads if key not in inputs)
        expected = {key: values[key].clone() for key in stretch.read_later}
        for key, final in stretch.finals:
            memory = final.memory()
            if key in wanted and key not in expected and memory is not None:
                expected[key] = memory.read(None)[: final.count]
        compiled = self._compile(stretch, choice, wanted, inputs)
        if compiled is not None and compiled.take(inputs) and (found := compiled.run()):
            choice.check(compiled, found, expected, inputs)

    def _run_as_one(
        self,
        stretch: Stretch,
        compiled: Compiled,
        inputs: Values,
        finals: Finals,
        values: Values,
    ) -> bool:
        """Run a stretch by a backend; returns whether that was possible."""
        results = compiled.run() if compiled.take(inputs) else None
        if results is None:
            return False
        for key in stretch.reads:
            if key in self._survey.sources:
                self._snapshot.setdefault(key, compiled.inputs[key])
        # The results lie in its memory, also when it is given up in this very run.
        self._in_use.append(compiled)
        kept, others = finals
        for key, _, memory in kept:
            memory.put(self._as_blob(results[key]), self._store)
        for key, _, memory in others:
            self._looks.defer(key, memory)
        stretch.kept = [(key, final) for key, final, _ in kept]
        for key in stretch.read_later:
            values[key] = results[key]
        for key in values.keys() & stretch.released:
            del values[key]
        return True

    def _follow(self, stretch: Stretch, choice: Choice) -> None:
        """Drop what PyTorch has packed as soon as something else is quicker, and the reverse."""
        if not choice.is_open:
            stretch.told, stretch.choice = choice.told, None
        is_left = choice.chosen is not None and not choice.chosen.needs_torch
        if is_left == stretch.is_left:
            return
        stretch.is_left = is_left
        for i in stretch.numbers:
            self._operations[i].is_worth_packing = not is_left
        if is_left:
            self._release(stretch.numbers)

    def _read(self, source: weakref.ref[SyncedMemory], shape: tuple[int, ...]) -> Tensor:
        """Return what a memory that the plan starts from holds."""
        memory = source()
        assert memory is not None
        flat, count = memory.read(self._store), math.prod(shape)
        return (flat if flat.numel() == count else flat[:count]).view(shape)

    def _lay_out(self, keys: Iterable[int], sources: Values, values: Values) -> None:
        """Copy what the plan starts from into its own layout and precision, where it is read."""
        for key in keys:
            if key not in values and key in sources:
                values[key] = self._laid_out(self._snapshot.get(key, sources[key]))
                self._snapshot.setdefault(key, values[key])
                if self._store is None and not are_finite(values[key]):
                    self._has_odd_sources = True

    def _heed_nan(self) -> None:
        """Let operations keep NaN where there may be any, which takes longer."""
        odd = (operation.has_odd_params for operation in self._operations)
        is_odd = self._makes_nan or self._has_odd_sources or any(odd)
        if is_odd != self._keeps_nan:
            self._keeps_nan = is_odd
            for operation in self._operations:
                operation.keeps_nan = is_odd

    def _laid_out(self, values: Tensor) -> Tensor:
        layout = self._settings.picture_layout if values.dim() == 4 else torch.contiguous_format
        precision = self._settings.precision
        copy = torch.empty_like(values, dtype=precision, memory_format=layout)
        return copy.copy_(values)

    def _as_blob(self, value: Tensor) -> Tensor:
        how = torch.contiguous_format
        if value.dtype != torch.float32:
            return value.to(torch.float32, memory_format=how).view(-1)
        if self._store is None and value.numel() <= SMALL:
            # Behind a library's run PyTorch's copying is no longer in the caches.
            return torch.from_numpy(value.numpy().flatten())
        return value.clone(memory_format=how).view(-1)

    # Parameters.

    def _refresh(self, numbers: Iterable[int]) -> None:
        """Pack for PyTorch what parameters of these operations have changed."""
        due = {i for i in numbers if i in self._stale} if self._stale else set()
        if due:
            with returning_memory():
                self._stale -= {i for i in due if not _refresh(self._operations[i])}
            self._unpacked -= due

    def _release(self, numbers: Iterable[int]) -> None:
        """Drop what PyTorch has packed and kept for operations that a backend takes over."""
        released = set(numbers)
        for i in released - self._unpacked:
            self._operations[i].release()
        self._unpacked |= released
        self._stale |= released
        give_back_freed_memory()

    def _changeable(self) -> set[int]:
        """Find the memories whose values, computed later, might be others than now."""
        found: set[int] = set()
        # Whoever holds a parameter's array keeps its operation stale.
        if any(self._operations[i].may_change_unseen for i in self._stale):
            for operation in self._operations:
                if operation.may_change_unseen or found.intersection(operation.reads):
                    found.update(operation.writes)
        return found

    def before_change(self, memory: SyncedMemory) -> None:
        """Compute what is left to be computed from a parameter that is about to change."""
        with self._lock:
            self._settle(self._users.get(id(memory), ()))

    def _settle(self, users: Sequence[int]) -> None:
        self._stale.update(users)
        for stretch in self._stretches:
            for i in users:
                if stretch.choice is not None and i in stretch.numbers:
                    stretch.choice.parameter_changes(self._operations[i])
        for i in self._unpacked.intersection(users):
            _refresh(self._operations[i])
            self._unpacked.discard(i)
        first = min((i for i in users if self._operations[i].has_raw_params), default=None)
        if first is not None and self._is_whole:
            self._looks.settle(first)

    # Looking.

    def _compute(self, key: int) -> Tensor:
        """Compute a memory's values again, from the inputs as they were at the last run."""
        # Whoever looks may have chosen something else since, or be another thread.
        with mode.computing_as(self._chosen), self._lock:
            return self._computed(key)

    def _computed(self, key: int) -> Tensor:
        if not self._is_whole:
            raise CaffeError(
                "this blob's values were left to be computed, but the forward that was to do so "
                "failed; run the net again"
            )
        for i in self._unpacked:
            # What the last run had was dropped; no parameter has changed since.
            _refresh(self._operations[i])
        self._unpacked.clear()
        looks = self._looks
        if looks.look is None:
            values = {key: self._laid_out(value) for key, value in self._snapshot.items()}
            looks.look = Look(values)
        look = looks.look
        looks.note(key)
        with torch.no_grad():
            while look.position <= self._survey.written[key].last:
                operation = self._operations[look.position]
                with operation.blame():
                    operation.run_apart(look.values)
                for written in operation.writes:
                    if self._survey.written[written].last == look.position:
                        look.finals[written] = look.values[written]
                look.position += 1
        if key in look.finals:
            value = self._as_blob(look.finals.pop(key))
            given = value if self._store is None else self._store.download(value)
            look.given[key] = given
            return given
        # Another thread has been given it, and has it still; or else it is computed once more.
        again = look.given.get(key)
        if again is None:
            looks.look = None
            return self._computed(key)
        return again


_plans: weakref.WeakSet[Plan] = weakref.WeakSet()


@in_forked_child
def _renew_locks() -> None:
    for plan in _plans:
        plan.renew_lock()


def _refresh(operation: Operation) -> bool:
    with operation.blame():
        return operation.refresh()


def blobs_of(steps: Sequence[Step]) -> list[Blob]:
    """Return each blob and parameter of the steps once."""
    blobs = (blob for s in steps for blob in (*s.bottoms, *s.tops, *s.layer.blobs))
    return list({id(blob): blob for blob in blobs}.values())
