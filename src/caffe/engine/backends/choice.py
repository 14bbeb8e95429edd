"""Whether a plan's operations are run one by one, by OpenVINO, or as the GPU recorded them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ...errors import CaffeWarning
from ...memory.stores import Store
from ..operations import Operation
from . import openvino, recorded

PATIENCE = 5
"""From which run on in which nothing has changed preparations are worth their time."""

TRIALS = PATIENCE - 2
"""How many runs OpenVINO has to show that it is faster; as many of PyTorch's count."""

WORTH = 0.97
"""What share of PyTorch's time OpenVINO may take at most; it needs memory of its own."""


class Prepared(Protocol):
    """Operations that run as one."""

    outputs: list[int]
    inputs: dict[int, Tensor]

    def take(self, values: Mapping[int, Tensor]) -> bool:
        """Take the inputs' values; returns whether they can be computed from."""
        ...

    def run(self) -> dict[int, Tensor]:
        """Compute the outputs, which the next run overwrites."""
        ...


class Choice:
    """What runs a plan's first operations: found out by trying, in the engine "auto".

    Parameters
    ----------
    operations : sequence of Operation
        The plan's.
    engine : {"auto", "torch", "openvino"}
        As `caffe.set_engine` takes it.
    precision : torch.dtype
        What is computed in.
    store : Store or None
        Where it is computed; on the CPU where there is none.

    Attributes
    ----------
    count : int
        How many operations, from the first on, it is about; 0 when PyTorch has been chosen.
    keeps_torch_ready : bool
        Whether PyTorch's form of the parameters is used.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        engine: str,
        precision: torch.dtype,
        store: Store | None,
    ) -> None:
        self._operations = operations
        self._engine = engine
        self._precision = precision
        self._store = store
        self._prepared: Prepared | None = None
        self._quiet_runs = 0
        self._times: dict[bool, list[float]] = {False: [], True: []}
        self.keeps_torch_ready = store is not None
        self.count = 0
        if store is not None:
            self.count = recorded.reach(operations)
        elif engine == "openvino" or (engine == "auto" and openvino.is_installed()):
            self.count = openvino.reach(operations)
        # Those whose parameters somebody may hold.
        self._held = set(range(self.count))

    def parameter_changes(self, users: Sequence[int]) -> None:
        """Drop what was prepared: a parameter of these operations is about to change."""
        mine = [i for i in users if i < self.count]
        if mine:
            self._held.update(mine)
            self._prepared, self._quiet_runs = None, 0

    def is_quiet(self) -> bool:
        """Tell whether nobody holds a parameter: what is held may change unseen."""
        self._held = {i for i in self._held if self._operations[i].is_held}
        if self._held:
            self._quiet_runs = 0
        return not self._held

    def prepared(
        self, wanted: set[int], inputs: Mapping[int, Tensor], before: Callable[[], None]
    ) -> Prepared | None:
        """Return what gives at least the memories `wanted`; None while that is not worth it.

        `before` is called before anything is prepared.
        """
        self._quiet_runs += 1
        if self._prepared is not None and not wanted.issubset(self._prepared.outputs):
            wanted = wanted.union(self._prepared.outputs)
            self._prepared, self._quiet_runs = None, 1
        is_asked_for = self._engine == "openvino" and self._store is None
        if self._prepared is None and (is_asked_for or self._quiet_runs >= PATIENCE):
            before()
            try:
                self._prepared = self._prepare(wanted, inputs)
            except Exception as error:
                if is_asked_for:
                    raise
                self.count = 0
                reason = f"the net runs less quickly than it might: {error}"
                warnings.warn(reason, CaffeWarning, stacklevel=2)
        return self._prepared

    def _prepare(self, wanted: set[int], inputs: Mapping[int, Tensor]) -> Prepared:
        operations = self._operations[: self.count]
        read = {key for operation in operations for key in operation.reads}
        mine = {key: value for key, value in inputs.items() if key in read}
        if self._store is not None:
            return recorded.Recorded(operations, mine, wanted, self._store)
        shapes = {key: tuple(value.shape) for key, value in mine.items()}
        return openvino.Compiled(operations, shapes, wanted, self._precision)

    def judge(self, was_prepared: bool, seconds: float) -> None:
        """Note how long a run took, and give OpenVINO up where PyTorch is faster."""
        tried = self._times[True]
        is_open = self._engine == "auto" and self._store is None and len(tried) <= TRIALS
        if not self.count or not self._quiet_runs or not is_open:
            return
        self._times[was_prepared].append(seconds)
        if len(tried) > TRIALS:
            # The first of each prepares.
            torchs, openvinos = (min(self._times[which][1:]) for which in (False, True))
            if openvinos > WORTH * torchs:
                self._prepared, self.count = None, 0
