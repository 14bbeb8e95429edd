"""Whether some of a plan's operations run one by one or as one: tried out (autotuning)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import CaffeWarning
from ..plan.operation import Operation
from ..plan.settings import Settings
from .backend import Backend, Compiled
from .openvino import OpenVINO, is_installed
from .recorded import Recorder

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = 5
"""From which run on in which nothing has changed compiling is worth its time."""

TRIALS = PATIENCE - 2
"""How many runs a backend has to show that it is faster; as many of PyTorch's count."""

WORTH = 0.97
"""What share of PyTorch's time a backend may take at most; it needs memory of its own."""

TOLERANCE = {"float32": 1e-2, "bfloat16": 0.1, "float16": 0.02}
"""By how much of the largest value a backend's may differ from PyTorch's, by precision."""


def backend_for(settings: Settings) -> Backend | None:
    """Return what could run operations as one; None where only PyTorch is wanted, or there."""
    if settings.store is not None:
        return Recorder(settings.store)
    wants = settings.engine == "openvino" or (settings.engine == "auto" and is_installed())
    return OpenVINO(settings.precision) if wants else None


def stretches(operations: Sequence[Operation], backend: Backend | None) -> list[tuple[int, bool]]:
    """Part a plan's operations into runs that the backend takes and that it does not.

    Returns
    -------
    list of (int, bool)
        Where each run ends, and whether the backend takes it.
    """
    found: list[tuple[int, bool]] = []
    for i, operation in enumerate(operations):
        takes = backend is not None and backend.refusal(operation) is None
        if found and found[-1][1] == takes:
            found[-1] = i + 1, takes
        else:
            found.append((i + 1, takes))
    return found


class Choice:
    """What runs some operations: found out by trying, unless it is asked for.

    Parameters
    ----------
    operations : sequence of Operation
        Which; the backend takes them all.
    backend : Backend
        What could run them as one.
    settings : Settings
        A backend that is asked for by its name is used from the first run on.

    Attributes
    ----------
    is_open : bool
        Whether the backend is still a possibility; False when PyTorch has been chosen.
    is_asked_for : bool
        Whether the backend was named by the person: it is not compared with PyTorch.
    compiled : Compiled or None
        What the backend has made of the operations.
    """

    def __init__(
        self, operations: Sequence[Operation], backend: Backend, settings: Settings
    ) -> None:
        self.backend = backend
        self.is_open = True
        self.compiled: Compiled | None = None
        self._operations = operations
        self.is_asked_for = settings.engine == "openvino" and settings.store is None
        self._is_tried = settings.engine == "auto" and settings.store is None
        self._tolerance = TOLERANCE[str(settings.precision).removeprefix("torch.")]
        self._quiet_runs = 0
        self._times: dict[bool, list[float]] = {False: [], True: []}
        # Those whose parameters somebody may hold.
        self._held = set(operations)

    def parameter_changes(self, operation: Operation) -> None:
        """Drop what was compiled: a parameter of this operation is about to change."""
        self._held.add(operation)
        self.compiled, self._quiet_runs = None, 0

    def is_due(self, wanted: set[int]) -> bool:
        """Count one more run, and say whether something is to be compiled for it.

        Parameters
        ----------
        wanted : set of int
            The memories that the run must give.
        """
        self._held = {operation for operation in self._held if operation.is_held}
        if not self.is_open or self._held or self._is_early:
            # What is held may change unseen.
            self._quiet_runs = 0
            return False
        self._quiet_runs += 1
        if self.compiled is not None and not wanted.issubset(self.compiled.outputs):
            wanted.update(self.compiled.outputs)
            self.compiled, self._quiet_runs = None, 1
        patient = self.is_asked_for or self._quiet_runs >= PATIENCE
        return self.compiled is None and patient

    @property
    def _is_early(self) -> bool:
        """Whether PyTorch's own best is not known yet, against which a backend is judged."""
        return self._is_tried and any(operation.is_trying for operation in self._operations)

    @property
    def is_ready(self) -> bool:
        """Whether the run that was counted last can be the backend's."""
        return self.compiled is not None and self._quiet_runs > 0

    def compile(self, wanted: set[int], inputs: Mapping[int, Tensor]) -> None:
        """Let the backend compile the operations; where it cannot, PyTorch is chosen.

        Raises
        ------
        Exception
            What the backend raises, where it was asked for by name.
        """
        try:
            self.compiled = self.backend.compile(self._operations, inputs, wanted)
        except Exception as error:
            if self.is_asked_for:
                raise
            self._give_up(f"the net runs less quickly than it might: {error}")

    def check(self, found: Mapping[int, Tensor], expected: Mapping[int, Tensor]) -> None:
        """Compare what the backend computes with PyTorch's values; where they differ, give it up.

        Parameters
        ----------
        found, expected : mapping of int to Tensor
            Memories' values from the same inputs.
        """
        for key, values in expected.items():
            wanted = values.float().flatten()
            most = float(wanted.abs().amax()) if wanted.numel() else 0.0
            difference = (found[key].float().flatten() - wanted).abs()
            if not bool((difference <= self._tolerance * most).all()):
                self._give_up(
                    f"{self.backend.name} computes otherwise than PyTorch from "
                    f"{self._operations[0].label} to {self._operations[-1].label} (by "
                    f"{float(difference.amax()):.2g} where the largest value is {most:.2g}): "
                    "it is not used"
                )
                return

    def _give_up(self, reason: str) -> None:
        self.compiled, self.is_open = None, False
        warnings.warn(reason, CaffeWarning, stacklevel=3)

    def judge(self, was_compiled: bool, seconds: float) -> None:
        """Note how long a run took, and give the backend up where PyTorch is faster."""
        tried = self._times[True]
        is_undecided = self._is_tried and self.is_open and len(tried) <= TRIALS
        if not is_undecided or not self._quiet_runs:
            return
        self._times[was_compiled].append(seconds)
        if len(tried) > TRIALS:
            # The first of each does more.
            torchs, backends = (min(self._times[which][1:]) for which in (False, True))
            if backends > WORTH * torchs:
                self.compiled, self.is_open = None, False
