"""A training's forward and backward that a GPU does again by one call (a CUDA graph).

What such a recording reads and writes stays where it is. So the layers that are recorded are
copies, on blobs of their own: they read the parameters where these lie and the update writes them,
and copies of all else that the passes begin with: what sources gave, random numbers, diffs that
somebody has given. Afterwards the net's blobs take what the copies' hold, as it lies there. The
next step overwrites it; whoever has asked a blob for an array has one in the CPU's memory.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import mode
from ..errors import CaffeWarning, in_a_sentence
from ..layers import asking
from ..layers.layer import Changing
from ..layers.promises import is_ours
from ..memory.blob import Blob, Layout
from ..memory.stores import Recording, Store
from ..memory.synced import SyncedMemory
from ..pytorch import torch
from ..vectors import BlobVec, RawBlobVec
from .regained import Passes
from .steps import Loss, Step

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = 3
"""How many steps of the same shapes are done as ever before one is recorded."""

MakePasses = Callable[[Sequence[Step]], Passes]


def can_be_recorded(steps: Sequence[Step]) -> bool:
    """Whether forward and backward of all but the sources do the same for any values.

    Sources run before the recording, and layers that draw do so then, in the order that they have.
    """
    has_drawn = False
    for step in steps:
        layer = step.layer
        if not step.bottoms:
            if has_drawn or any(step.loss_weights):
                return False
            continue
        has_drawn |= layer.draws
        is_usual = is_ours(type(layer)) and not layer.is_patched and "backward" not in vars(layer)
        if not is_usual or layer.on_blobs or not layer.trains_unseen:
            return False
    return any(step.need_backward for step in steps)


class WholeSteps:
    """Records a net's forward and backward once its shapes have settled.

    Parameters
    ----------
    steps : sequence of Step
        All of a net's, but for those that run before, since nothing before them has gradients.
    passes : callable
        Makes of steps what runs them.

    Attributes
    ----------
    sources : list of Step
        Those that are not recorded, and run before.
    is_given_up : bool
        Whether to record has failed, or there is no room.
    """

    def __init__(self, steps: Sequence[Step], passes: MakePasses) -> None:
        self._steps, self._passes = steps, passes
        self.sources = [step for step in steps if not step.bottoms]
        blobs = [b for step in steps for b in (*step.bottoms, *step.tops, *step.layer.blobs)]
        self._layout = Layout(blobs)
        self._ends = _ends(steps)
        self._key: object = None
        self._seen = 0
        self._recorded: _Recorded | None = None
        self.is_given_up = False

    @property
    def _bytes(self) -> int:
        """What a recording keeps: data, diffs, and as much again for what gradients need."""
        tops = {id(top.memory): top.count for step in self._steps for top in step.tops}
        return 3 * 4 * sum(tops.values())

    @property
    def is_recorded(self) -> bool:
        """Whether there is a recording, unless another situation comes."""
        return self._recorded is not None and not self._layout.has_changed

    def run(self, store: Store, settle: Callable[[], object]) -> Loss | None:
        """Run forward and backward behind the sources; None where nothing is recorded, nor run.

        Parameters
        ----------
        store : Store
            Where to compute.
        settle : callable
            Called before anything is overwritten that the last run has computed from.
        """
        key = _situation(store), tuple(top.has_no_diff for top in self._ends)
        if self._layout.has_changed or key != self._key:
            self._key, self._seen, self._recorded = key, 0, None
            self._layout.has_changed = False
        if self._recorded is not None:
            return self._recorded.run(settle)
        settle()
        self._seen += 1
        if self._seen <= PATIENCE:
            return None
        self.is_given_up = True
        if not store.has_room(self._bytes):
            return None
        made = _Recorded(self._steps, self._ends, store, self._passes)
        before = mode.generator().get_state()
        is_made = False
        try:
            is_made = made.record()
        except Exception as error:
            why = in_a_sentence(error, "a recording")
            warnings.warn(
                f"steps of training cannot be recorded, and take longer: {why}",
                CaffeWarning,
                stacklevel=2,
            )
        if not is_made:
            # The net's own blobs are as they were.
            mode.generator().set_state(before)
            return None
        self._recorded, self.is_given_up = made, False
        return made.take()


def _situation(store: Store) -> tuple[object, ...]:
    """What kernels are chosen by, beside shapes."""
    cudnn = torch.backends.cudnn
    return (
        *(store, mode.trains_in_bfloat16(), mode.allows_tf32()),
        *(torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark),
    )


def _ends(steps: Sequence[Step]) -> list[Blob]:
    """The tops whose diffs are read and nothing before writes: losses, and what is given."""
    written: set[int] = set()
    found = {}
    for step in reversed([step for step in steps if step.bottoms]):
        weighted = [top for top, w in zip(step.tops, step.loss_weights, strict=False) if w]
        for top in step.tops if step.need_backward else weighted:
            if id(top.diff_memory) not in written:
                found[id(top)] = top
        if not step.need_backward:
            continue
        pairs = zip(step.bottoms, step.needs(), strict=False)
        written.update(id(blob.diff_memory) for blob, need in pairs if need)
    return list(found.values())


def _read_first(steps: Sequence[Step]) -> list[Blob]:
    """What steps read that none of them has written."""
    written: set[int] = set()
    found: dict[int, Blob] = {}
    for step in steps:
        found |= {id(blob): blob for blob in step.bottoms if id(blob) not in written}
        written.update(id(top) for top in step.tops)
    return list(found.values())


def _memory_of(blob: Blob) -> tuple[int, int]:
    """What blobs of the same numbers have in common."""
    return id(blob.memory), blob.count


def _changing_together(steps: Sequence[Step], store: Store) -> dict[Changing, list[Step]]:
    """Part steps that change parameters of their own by what finds these of all at once."""
    places = [[blob.data_tensor(store).data_ptr() for blob in s.layer.blobs] for s in steps]
    readers = Counter(place for mine in places for place in set(mine))
    found: dict[Changing, list[Step]] = {}
    for step, mine in zip(steps, places, strict=True):
        change = step.layer.changes_with()
        # Of two that share theirs the second goes on from the first one's.
        if change is not None and all(readers[place] == 1 for place in mine):
            found.setdefault(change, []).append(step)
    return found


@dataclass
class _Given:
    """Values that the passes begin with, copied to a place where a recording finds them."""

    blob: Blob
    memory: SyncedMemory
    place: Tensor
    version: int
    was_lent: bool

    def bring(self, store: Store, is_diff: bool) -> None:
        """Copy the newest values, if they are others."""
        memory = self.memory
        is_lent = memory.is_lent
        if memory.version != self.version or is_lent or self.was_lent:
            read = self.blob.formed_diff if is_diff else self.blob.formed_data
            self.place.copy_(read(store))
            self.version, self.was_lent = memory.version, is_lent


@dataclass
class _Copies:
    """The copies of one run: steps and blobs (by the net's own), and what they found.

    Attributes
    ----------
    given : dict of int to int
        The versions of the memories that the passes begin with, as they were before.
    """

    steps: list[Step]
    blobs: dict[int, Blob]
    given: dict[int, int]
    loss: Loss
    questions: asking.Questions


class _Recorded:
    """A forward and backward that has been recorded, see this module's text."""

    def __init__(
        self, steps: Sequence[Step], ends: Sequence[Blob], store: Store, passes: MakePasses
    ) -> None:
        self._store, self._passes = store, passes
        self._steps = [step for step in steps if step.bottoms]
        self._read = _read_first(self._steps)
        # Of those that share their memory one brings it.
        brought = {_memory_of(blob): blob for blob in self._read}
        self._tops = [self._given(blob, is_diff=False) for blob in brought.values()]
        self._ends = [self._given(top, is_diff=True) for top in ends if not top.has_no_diff]
        learned = {id(blob): blob for step in self._steps for blob in step.layer.blobs}
        self._parameters = list(learned.values())
        self._places = {id(b.memory): b.memory.gpu(store) for b in self._parameters}
        self._lying = [(b.memory, self._places[id(b.memory)]) for b in self._parameters]
        self._drawing = [step for step in self._steps if step.layer.draws]
        self._drawn: list[Tensor] = []
        self._recording: Recording
        self._copies: _Copies | None = None
        self._known: _Copies | None = None

    def _given(self, blob: Blob, is_diff: bool) -> _Given:
        values = blob.formed_diff(self._store) if is_diff else blob.formed_data(self._store)
        memory = blob.diff_memory if is_diff else blob.memory
        # Later ones may be no short numbers.
        place = values.to(torch.float32, copy=True)
        return _Given(blob, memory, place, memory.version, memory.is_lent)

    def record(self) -> bool:
        """Record, which runs forward and backward, too; return whether this store can."""
        for step in self._drawing:
            self._drawn.append(self._draw(step))
        with torch.no_grad():
            recording = self._store.record(self._run_copies, tries=False)
        if recording is None:
            return False
        self._recording = recording
        self._find_pairs()
        self._note_sums()
        return True

    def _run_copies(self) -> list[Tensor]:
        """Run forward and backward by copies of the layers, on blobs of their own."""
        self._copies = None
        store = self._store
        blobs = {id(b): Blob(b.shape) for step in self._steps for b in (*step.bottoms, *step.tops)}
        bringing = {_memory_of(given.blob): blobs[id(given.blob)] for given in self._tops}
        for given in self._tops:
            blobs[id(given.blob)].put_data(given.place, store)
        for blob in self._read:
            blobs[id(blob)].share_data(bringing[_memory_of(blob)])
        with_data: dict[int, Blob] = {}
        with_diff: dict[int, Blob] = {}
        for blob in self._parameters:
            own = blobs[id(blob)] = Blob(blob.shape)
            own.put_data(self._place_of(blob), store)
            own.share_data(with_data.setdefault(id(blob.memory), own))
            own.share_diff(with_diff.setdefault(id(blob.diff_memory), own))
        steps = [self._copy(step, blobs) for step in self._steps]
        for step in steps:
            # From now on some tops have their bottoms' diffs.
            step.follow()
        for given in self._ends:
            blobs[id(given.blob)].put_diff(given.place, store)
        memories = [blobs[id(given.blob)].memory for given in self._tops]
        memories += [blobs[id(given.blob)].diff_memory for given in self._ends]
        versions = {id(memory): memory.version for memory in memories}
        changing = _changing_together(steps, store)
        for step in (step for mine in changing.values() for step in mine):
            step.is_changed_later = True
        passes = self._passes(steps)
        with asking.later(store) as questions:
            assert questions is not None
            loss = passes.forward(store)
            # To go back some layers run forward again, perhaps on what others have changed.
            changed = [
                (step, news)
                for change, mine in changing.items()
                for step, news in zip(mine, change([one.layer for one in mine]), strict=True)
            ]
            passes.backward(store)
        for step, news in changed:
            for blob, values in zip(step.layer.blobs, news, strict=False):
                blob.put_data(values, store)
        self._copies = _Copies(steps, blobs, versions, loss, questions)
        # The copies keep all that is to be kept.
        return []

    def _place_of(self, blob: Blob) -> Tensor:
        """Where a parameter lies."""
        return self._places[id(blob.memory)][: blob.count].view(blob.shape)

    @staticmethod
    def _copy(step: Step, blobs: dict[int, Blob]) -> Step:
        layer = copy.copy(step.layer)
        layer.blobs = BlobVec(blobs[id(blob)] for blob in step.layer.blobs)
        layer.runs_again = True
        own = step.beside(layer)
        own.bottoms = RawBlobVec(blobs[id(blob)] for blob in step.bottoms)
        own.tops = RawBlobVec(blobs[id(blob)] for blob in step.tops)
        return own

    def _find_pairs(self) -> None:
        """Find which of the net's blobs get something from which copy."""
        copies = self._copies
        assert copies is not None
        pairs: dict[int, tuple[SyncedMemory, int, bool]] = {}
        for step in self._steps:
            for blob in (*step.bottoms, *step.tops):
                own = copies.blobs[id(blob)]
                sides = (blob.memory, own.memory), (blob.diff_memory, own.diff_memory)
                for is_diff, (memory, found) in enumerate(sides):
                    is_given = copies.given.get(id(found)) == found.version
                    if not found.is_clear and not is_given:
                        pairs[id(memory)] = memory, id(blob), bool(is_diff)
        self._pairs = list(pairs.values())
        own_places = {place.data_ptr() for place in self._places.values()}
        with_data = {id(blob.memory): blob for blob in self._parameters}
        self._changed = [
            blob
            for blob in with_data.values()
            if copies.blobs[id(blob)].formed_data(self._store).data_ptr() not in own_places
        ]
        with_diff = {id(blob.diff_memory): blob for blob in self._parameters}
        self._learned = [b for b in with_diff.values() if not copies.blobs[id(b)].has_no_diff]
        self._going_back = [
            (mine, number)
            for number, mine in enumerate(self._steps)
            if mine.is_in_place and mine.layer.keeps_bottom
        ]

    def _know(self, copies: _Copies) -> None:
        """Note what the copies hold: of a recording it is the same each time."""
        self._known = copies
        own, store = copies.blobs, self._store
        self._news = [own[id(blob)].formed_data(store) for blob in self._changed]
        self._statistics = [(b.memory, self._places[id(b.memory)]) for b in self._changed]
        self._olds = [self._place_of(blob) for blob in self._changed]
        self._held = [
            (memory, own[key].diff_memory if is_diff else own[key].memory)
            for memory, key, is_diff in self._pairs
        ]
        self._held += [(b.diff_memory, own[id(b)].diff_memory) for b in self._learned]

    def run(self, settle: Callable[[], object]) -> Loss:
        """Run forward and backward; return the loss."""
        store = self._store
        # All that can be is done while the GPU may still compute the step before.
        for memory, place in self._lying:
            memory.stay_in(place, store)
        for step, place in zip(self._drawing, self._drawn, strict=True):
            place.copy_(self._draw(step))
            step.layer.drawn = place
        self._note_sums()
        settle()
        for given in self._tops:
            given.bring(store, is_diff=False)
        for given in self._ends:
            given.bring(store, is_diff=True)
        self._recording.replay()
        return self.take()

    def _draw(self, step: Step) -> Tensor:
        return step.layer.draw(step.bottoms[0].shape, step.dtype, self._store.device)

    def _note_sums(self) -> None:
        """Copy gradients of passes before, to which all that this pass adds is added."""
        self._sums = [
            (blob, blob.diff_tensor(self._store).clone())
            for blob in self._learned
            if not blob.has_no_diff
        ]

    def take(self) -> Loss:
        """Give the net's blobs what the copies' hold; return the loss."""
        copies, store = self._copies, self._store
        assert copies is not None
        if copies is not self._known:
            self._know(copies)
        for memory, place in self._statistics:
            memory.put(place, store)
        if self._news:
            torch._foreach_copy_(self._olds, self._news)
        for memory, own in self._held:
            memory.hold(own, store)
        for blob, before in self._sums:
            blob.put_diff(before + blob.diff_tensor(store), store)
        for mine, number in self._going_back:
            mine.go_back_as(copies.steps[number])
        questions = asking.put_off()
        assert questions is not None
        questions.take(copies.questions)
        return copies.loss
