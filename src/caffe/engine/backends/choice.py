"""What runs some of a plan's operations, PyTorch or a backend: tried out (autotuning).

Two at a time meet: the champion, which is PyTorch at first, and a rival, see `contest`. The quicker
one is the champion whom the next rival meets.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import CaffeWarning, in_a_sentence
from ...memory.allocation import give_back_freed_memory, returning_memory
from ...pytorch import torch
from .. import remembered
from ..plan.operation import Operation, Part, in_float32
from ..plan.settings import Settings
from .backend import Backend, Compiled
from .contest import LAST_ROUND, ROUNDS, TURN, Contest
from .llvm import LLVM
from .mnn import MNN
from .onednn_graph import OneDnnGraph
from .onnxruntime import OnnxRuntime
from .openvino import OpenVINO
from .recorded import Recorder

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = 5
"""From which run on in which nothing has changed compiling is worth its time."""

TRIAL = 1 + TURN * (2 * LAST_ROUND + ROUNDS)
"""How many runs it takes to know who of two is quicker, at most, with the one that compiles."""

LONGEST = 10.0
"""For how many seconds rivals are prepared and tried; those that are left then are not."""

WORTH = 0.97
"""What share of PyTorch's time a rival may take at most; it needs memory of its own."""

AS_WELL = 1.5
"""By how many times as much as what it is compared with short numbers may be rounded off."""

WRONG = 1e-2
"""Of the largest value: a difference above this is no rounding, and people are told of it."""

LEAST_WORK = 2**22
"""How many multiply-adds, and numbers read and written, operations must have to be worth a trial.

A library would spare half a millisecond of a small net's forward, so that what it takes to prepare
is had back by hundreds of forwards. And the first forward is, to the last digit, what the tenth is.
"""

PYTORCH = "PyTorch"

LIBRARIES: dict[
    str, type[LLVM] | type[MNN] | type[OneDnnGraph] | type[OnnxRuntime] | type[OpenVINO]
] = {
    "llvm": LLVM,
    "openvino": OpenVINO,
    "onnxruntime": OnnxRuntime,
    "mnn": MNN,
    "onednn": OneDnnGraph,
}
"""By their engines' names; those that are most often the quickest come first."""


def backends_for(settings: Settings) -> list[Backend]:
    """Return what could run operations as one; nothing where only PyTorch is wanted, or there."""
    if settings.store is not None:
        return [Recorder(settings.store)]
    if settings.engine == "auto":
        return [
            library(settings.precision) for library in LIBRARIES.values() if library.is_installed()
        ]
    return [LIBRARIES[settings.engine](settings.precision)] if settings.engine in LIBRARIES else []


def stretches(
    operations: Sequence[Operation], backends: Sequence[Backend]
) -> list[tuple[int, list[Backend]]]:
    """Part a plan's operations into runs by who takes them.

    Who takes the most of them parts them; what it does not take is parted by the next, and so on.
    What it takes may be taken by others too, if they take all of it.

    Returns
    -------
    list of (int, list of Backend)
        Where each run ends, and who takes it.
    """
    takes = {
        backend: [backend.refusal(made) is None for made in operations] for backend in backends
    }
    ranked = sorted(backends, key=lambda backend: takes[backend].count(False))
    found = []
    parts = _parted(takes, 0, len(operations), ranked) if operations else []
    for _, end, backend, others in parts:
        takers = [*others, *([] if backend is None else [backend])]
        found.append((end, sorted(takers, key=list(backends).index)))
    return found


def _parted(
    takes: Mapping[Backend, Sequence[bool]], start: int, end: int, backends: Sequence[Backend]
) -> list[tuple[int, int, Backend | None, list[Backend]]]:
    """Part the operations from `start` to before `end`: starts, ends, who takes them, who else."""
    if not backends:
        return [(start, end, None, [])]
    first, *others = backends
    found: list[tuple[int, int, Backend | None, list[Backend]]] = []
    taken = takes[first]
    begin = start
    for i in range(start + 1, end + 1):
        if i < end and taken[i] == taken[begin]:
            continue
        if taken[begin]:
            also = [other for other in others if all(takes[other][begin:i])]
            found.append((begin, i, first, also))
        else:
            found += _parted(takes, begin, i, others)
        begin = i
    return found


def is_worth_trying(operations: Sequence[Operation], settings: Settings) -> bool:
    """Tell whether operations have so much work that it may matter who runs them.

    They do where there is nothing to be tried: a backend is asked for by name, or records.
    """
    if settings.store is not None or settings.engine != "auto":
        return True
    return sum(_work(part) for operation in operations for part in operation.parts) >= LEAST_WORK


def _work(part: Part) -> int:
    numbers = sum(map(math.prod, (*part.read_shapes, *part.shapes)))
    return part.layer.multiply_adds(part.read_shapes, part.shapes) + numbers


class Choice:
    """What runs some operations: found out by trying, unless it is asked for.

    Parameters
    ----------
    operations : sequence of Operation
        Which.
    backends : sequence of Backend
        What could run them as one; each takes them all.
    settings : Settings
        A backend that is asked for by its name is used from the first run on.

    Attributes
    ----------
    chosen : Backend or None
        The champion; None while it is PyTorch.
    is_asked_for : bool
        Whether the backend was named by the person: it is not compared with PyTorch.
    is_remembered : bool
        Whether an earlier trial has chosen, see `caffe.engine.remembered`.
    """

    def __init__(
        self, operations: Sequence[Operation], backends: Sequence[Backend], settings: Settings
    ) -> None:
        self._operations = operations
        on_cpu = settings.store is None
        self._is_short = on_cpu and settings.precision != torch.float32
        self.is_asked_for = on_cpu and settings.engine != "auto"
        # A recording of the same operations needs no trial.
        self._is_tried = on_cpu and not self.is_asked_for
        self._records = not on_cpu
        self.chosen: Backend | None = None if self._is_tried else backends[0]
        self._rivals = list(backends) if self._is_tried else []
        self._key = ""
        self.is_remembered = False
        self._made: dict[Backend, Compiled] = {}
        self._quiet_runs = 0
        self._contest = Contest()
        self._spent = 0.0
        # How long champions took, undisturbed.
        self._known: dict[Backend | None, float] = {}
        self._seconds: dict[str, float] = {}
        self._is_sure = True
        self._has_loser = False
        # Those whose parameters somebody may hold.
        self._held = set(operations)
        if self._is_tried and remembered.is_on():
            self._remember(settings)

    def _remember(self, settings: Settings) -> None:
        """Do without a trial where an earlier one has found out who is the quickest."""
        names = [backend.name for backend in self._rivals]
        facts = [str(settings.precision), names, facts_of(self._operations)]
        self._key = remembered.key_of(facts)
        finding = remembered.recall(self._key)
        known = {
            backend.name: backend
            for rival in self._rivals
            for backend in (rival, rival.gentler)
            if backend is not None
        }
        if finding is None or finding.chosen not in (PYTORCH, *known):
            return
        self.chosen = known.get(finding.chosen)
        self._rivals = []
        self._seconds = dict(finding.seconds)
        self.is_remembered = True

    @property
    def is_open(self) -> bool:
        """Whether a backend is still a possibility; False when PyTorch has been chosen."""
        return self.chosen is not None or bool(self._rivals)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to be tried, nor to be recorded."""
        records = self._records and self.chosen is not None and self.chosen not in self._made
        return not (self._rivals or records)

    @property
    def compiled(self) -> Compiled | None:
        """What runs the operations next; None where PyTorch does."""
        turn = self._turn
        return None if turn is None else self._made.get(turn)

    @property
    def _turn(self) -> Backend | None:
        """Whose turn it is: the champion's, or the rival's once that is ready."""
        rival = self._rivals[0] if self._rivals else None
        is_rivals = rival in self._made and self._contest.is_rivals_turn
        return rival if is_rivals else self.chosen

    @property
    def due(self) -> Backend | None:
        """What is to be compiled next; None where everything that is needed has been."""
        if self.chosen is not None and self.chosen not in self._made:
            return self.chosen
        rival = self._rivals[0] if self._rivals else None
        return rival if rival not in self._made else None

    def parameter_changes(self, operation: Operation) -> None:
        """Drop what was compiled: a parameter of this operation is about to change."""
        self._held.add(operation)
        self._forget(0)

    def _forget(self, quiet_runs: int) -> None:
        """Drop what was compiled, and begin a trial that is under way anew."""
        self._made.clear()
        self._quiet_runs = quiet_runs
        if self._rivals:
            self._known.clear()
        self._begin_contest()

    def _begin_contest(self) -> None:
        self._spent += self._contest.seconds
        self._contest = Contest(self._known.get(self.chosen))

    def _may_win(self, rival: Backend) -> bool:
        """Whether a rival is worth being tried, by what is known of the others."""
        if self._spent >= LONGEST:
            return False
        champion, by_torch = (self._seconds.get(_name(one)) for one in (self.chosen, None))
        if self.chosen is None or champion is None or by_torch is None or not self._is_sure:
            return True
        return rival.at_best(by_torch, len(self._operations)) < champion

    def is_due(self, wanted: set[int]) -> bool:
        """Count one more run, and say whether something is to be compiled for it.

        Parameters
        ----------
        wanted : set of int
            The memories that the run must give.
        """
        if self._has_loser:
            # Until the end of its last run its results were in use.
            self._has_loser = False
            give_back_freed_memory()
        if self._held:
            self._held = {operation for operation in self._held if operation.is_held}
        if not self.is_open or self._held or self._is_early:
            # What is held may change unseen.
            self._quiet_runs = 0
            return False
        self._quiet_runs += 1
        given = [compiled.outputs for compiled in self._made.values()]
        if not all(map(wanted.issubset, given)):
            wanted.update(*given)
            self._forget(1)
        known = self.is_asked_for or (self.is_remembered and self.chosen is not None)
        patient = known or self._quiet_runs >= PATIENCE
        return patient and self.due is not None

    @property
    def _is_early(self) -> bool:
        """Whether PyTorch's own best is not known yet, against which a backend is judged."""
        return self._is_tried and any(operation.is_trying for operation in self._operations)

    @property
    def ready(self) -> Compiled | None:
        """What does the run that was counted last; None where PyTorch does."""
        return self.compiled if self._quiet_runs else None

    def compile(self, wanted: set[int], inputs: Mapping[int, Tensor]) -> Compiled | None:
        """Let the backend that is due compile the operations; where it cannot, it is given up.

        Raises
        ------
        Exception
            What the backend raises, where it was asked for by name.
        """
        backend = self.due
        assert backend is not None
        began = time.perf_counter()
        try:
            with returning_memory():
                made = backend.compile(self._operations, inputs, wanted)
        except Exception as error:
            if self.is_asked_for:
                raise
            why = in_a_sentence(error, backend.name)
            self._give_up(backend, f"the net runs less quickly than it might: {why}")
            return None
        finally:
            self._spent += time.perf_counter() - began
        self._made[backend] = made
        self._begin_contest()
        return made

    def check(
        self,
        compiled: Compiled,
        found: Mapping[int, Tensor],
        expected: Mapping[int, Tensor],
        inputs: Mapping[int, Tensor],
    ) -> None:
        """Compare what a backend computes with what is known; where they differ, give it up.

        Some round off more than they may, for some weights; of that nothing is said, and what is
        gentler takes their turn.

        Parameters
        ----------
        compiled : Compiled
            What the backend has made.
        found, expected : mapping of int to Tensor
            Memories' values from the same inputs.
        inputs : mapping of int to Tensor
            These.
        """
        exact: Mapping[int, Tensor] = {}
        (backend,) = (one for one, made in self._made.items() if made is compiled)
        for key, values in expected.items():
            wanted = values.float().flatten()
            most = float(wanted.abs().amax()) if wanted.numel() else 0.0
            difference = (found[key].float().flatten() - wanted).abs()
            is_near = bool((difference <= backend.tolerance * most).all())
            if not is_near and self._is_short:
                exact = exact or in_float32(self._operations, inputs, expected.keys())
                is_near = _rounds_as_well(found[key], values, exact[key])
            if not is_near:
                most_off = float(difference.amax())
                told = (
                    f"{backend.name} computes otherwise than {_name(self.chosen)} from "
                    f"{self._operations[0].label} to {self._operations[-1].label} (by "
                    f"{most_off:.2g} where the largest value is {most:.2g}): it is not used"
                )
                is_rounding = most_off <= WRONG * most
                if is_rounding and backend.gentler is not None and self._rivals[:1] == [backend]:
                    del self._made[backend]
                    self._rivals[0] = backend.gentler
                    self._begin_contest()
                else:
                    self._give_up(backend, "" if is_rounding else told)
                return

    def _give_up(self, backend: Backend, reason: str) -> None:
        self._made.pop(backend, None)
        # What these weights, or this moment, do not allow others may.
        if self._key:
            remembered.forget(self._key)
            self._key = ""
        if backend is self.chosen:
            self.chosen = None
        self._rivals = [rival for rival in self._rivals if rival is not backend]
        self._begin_contest()
        if reason:
            warnings.warn(reason, CaffeWarning, stacklevel=3)

    def judge(self, ran: Compiled | None, seconds: float, is_disturbed: bool = False) -> None:
        """Note how long a run took, and who is the champion once that is known.

        Parameters
        ----------
        ran : Compiled or None
            What ran it; None where PyTorch did.
        seconds : float
            How long it took.
        is_disturbed : bool
            Whether others wanted the CPUs meanwhile.
        """
        if not self._rivals or not self._quiet_runs or ran is not self.compiled:
            # For whose turn it was its input was nothing, or it is not ready.
            return
        if self._rivals[0] in self._made:
            self._contest.note(seconds, is_disturbed)
            if self._contest.is_over:
                self._decide()
        elif self._quiet_runs > 1 and not is_disturbed and (ran is None) == (self.chosen is None):
            # What comes behind a change, or another's run, takes longer.
            self._known[self.chosen] = min(seconds, self._known.get(self.chosen, seconds))

    def _decide(self) -> None:
        """Let the quicker one be the champion."""
        contest, (rival, *others) = self._contest, self._rivals
        for one, seconds in ((self.chosen, contest.champion), (rival, contest.rival)):
            # Others may be in the way of the one contest, and not of the other.
            self._seconds[_name(one)] = min(seconds, self._seconds.get(_name(one), seconds))
        self._is_sure = self._is_sure and contest.is_sure
        loser: Backend | None = rival
        if contest.rival <= contest.champion * (WORTH if self.chosen is None else 1):
            loser, self.chosen = self.chosen, rival
        if loser is not None:
            del self._made[loser]
            self._has_loser = True
        self._known.clear()
        if contest.is_sure:
            self._known[self.chosen] = self._seconds[_name(self.chosen)]
        self._begin_contest()
        self._rivals = [other for other in others if self._may_win(other)]
        if self.is_settled and self._key:
            remembered.note(self._key, _name(self.chosen), self._seconds, self._is_sure)

    @property
    def told(self) -> str:
        """Say how quick those that were tried are; empty where none was."""
        said = remembered.told(_name(self.chosen), self._seconds) if self.is_settled else ""
        return f"{said}, remembered" if said and self.is_remembered else said


def facts_of(operations: Sequence[Operation]) -> list[object]:
    """Return what settles how long operations take: their layers, shapes and connections."""
    places: dict[int, int] = {}
    facts: list[object] = []
    for operation in operations:
        for part in operation.parts:
            layer = part.layer
            ends = [places.setdefault(key, len(places)) for key in (*part.reads, *part.writes)]
            blobs = [blob.shape for blob in layer.blobs]
            text = layer.param.SerializeToString(deterministic=True).hex() if layer.message else ""
            facts.append([layer.type, text, ends, part.read_shapes, part.shapes, blobs])
    return facts


def _rounds_as_well(found: Tensor, other: Tensor, exact: Tensor) -> bool:
    """Whether short numbers are as near to float32 as those that they are compared with.

    Some weights enlarge what each rounds off in its own way.
    """
    mine, others = (
        float((values.float().flatten() - exact.flatten()).norm()) for values in (found, other)
    )
    return mine <= AS_WELL * others


def _name(backend: Backend | None) -> str:
    return PYTORCH if backend is None else backend.name
