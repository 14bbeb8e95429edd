"""What can run some of a plan's operations as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ..plan.operation import Operation

if TYPE_CHECKING:
    from torch import Tensor


class Compiled(Protocol):
    """Operations that run as one.

    Attributes
    ----------
    outputs : list of int
        The memories whose values `run` gives.
    inputs : dict of int to Tensor
        The values that it computes from, by memory; `take`, or `run` behind it, overwrites them.
    """

    outputs: list[int]
    inputs: dict[int, Tensor]

    def take(self, values: Mapping[int, Tensor]) -> bool:
        """Take the inputs' values; returns whether they can be computed from."""
        ...

    def run(self) -> dict[int, Tensor] | None:
        """Compute the outputs, which the next run overwrites; None where others are to do it."""
        ...


class Backend(Protocol):
    """Compiles operations, so that they run as one.

    Attributes
    ----------
    name : str
        What people call it.
    needs_torch : bool
        Whether it runs PyTorch's form of the operations, their parameters packed.
    tolerance : float
        By how much of the largest value its results may differ from PyTorch's.
    gentler : Backend or None
        The same in another way, which rounds off less and takes longer: tried in its place where
        results differ by more than that.
    """

    name: str
    needs_torch: bool
    tolerance: float

    @property
    def gentler(self) -> Backend | None: ...

    def refusal(self, operation: Operation) -> str | None:
        """Say why an operation cannot be taken; None where it can."""
        ...

    def at_best(self, by_torch: float, operations: int) -> float:
        """Return in how many seconds it may run operations that take PyTorch so many, at best."""
        ...

    def compile(
        self, operations: Sequence[Operation], inputs: Mapping[int, Tensor], outputs: Iterable[int]
    ) -> Compiled:
        """Make one of operations that it takes.

        Parameters
        ----------
        operations : sequence of Operation
            One after the other.
        inputs : mapping of int to Tensor
            The memories that they start from, with their values now.
        outputs : iterable of int
            The memories whose final values are wanted.
        """
        ...
