"""Replaying a plan's operations on the GPU (a CUDA graph): one call instead of one for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ... import mode
from ...memory.stores import Store
from ...pytorch import torch
from ..plan.operation import Operation

if TYPE_CHECKING:
    from torch import Tensor


class Recorder:
    """The backend that records operations in a store.

    Parameters
    ----------
    store : Store
        Where it is computed.
    """

    name = "a recording"
    needs_torch = True
    # The operations are the same.
    tolerance = 0.0
    gentler = None

    def __init__(self, store: Store) -> None:
        self._store = store

    def at_best(self, by_torch: float, operations: int) -> float:
        """Return what may be hoped for; nobody asks, since there is no trial."""
        return 0.0

    def refusal(self, operation: Operation) -> str | None:
        """Say why an operation cannot be recorded; None where it can."""
        return None if operation.asks_no_values else "what it does depends on values"

    def compile(
        self, operations: Sequence[Operation], inputs: Mapping[int, Tensor], outputs: Iterable[int]
    ) -> Recorded:
        """Record operations, their parameters packed; see `Backend.compile`."""
        return Recorded(operations, inputs, outputs, self._store)


class Recorded:
    """Operations recorded in a store, for inputs of fixed shapes.

    Parameters
    ----------
    operations : sequence of Operation
        Which, their parameters packed.
    inputs : mapping of int to Tensor
        The memories that they start from, with their values now.
    outputs : iterable of int
        The memories whose final values are wanted.
    store : Store
        Where it is computed.

    Raises
    ------
    RuntimeError
        The store cannot record these operations.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        inputs: Mapping[int, Tensor],
        outputs: Iterable[int],
        store: Store,
    ) -> None:
        self.outputs = list(outputs)
        self.inputs = {key: values.clone() for key, values in inputs.items()}

        chosen = mode.chosen()

        def run() -> list[Tensor]:
            # Another thread may do it.
            with mode.computing_as(chosen), torch.no_grad():
                values = dict(self.inputs)
                for operation in operations:
                    operation.run(values)
                # One that is an input, or is overwritten later, must not change under its reader.
                return [values[key].clone() for key in self.outputs]

        recording = store.record(run)
        if recording is None:
            raise RuntimeError(f"{store.device.type} devices cannot record")
        self._recording = recording

    def take(self, values: Mapping[int, Tensor]) -> bool:
        """Take an input's values; returns whether they can be computed from."""
        for key, into in self.inputs.items():
            into.copy_(values[key])
        return True

    def run(self) -> dict[int, Tensor]:
        """Compute from the inputs; the results are overwritten by the next run."""
        self._recording.replay()
        return dict(zip(self.outputs, self._recording.results, strict=True))
