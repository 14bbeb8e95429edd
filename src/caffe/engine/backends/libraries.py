"""What backends share that hand operations to another library."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ... import mode
from ...errors import CaffeError, as_caffe_error
from ...layers.rules import Rules
from ...memory.blob import Shape
from ...processes import in_forked_child
from ...pytorch import torch
from ..plan.operation import Operation, Part
from .backend import Backend, Compiled

if TYPE_CHECKING:
    from torch import Tensor

Arrays = dict[int, NDArray[np.float32]]
"""Values by their memory's identity."""

FEW = 2**13
"""How many numbers are multiplied without the threads of NumPy's own, and in the least time."""


class Library(ABC):
    """A backend that hands operations to another library; see `Backend`.

    Parameters
    ----------
    precision : torch.dtype
        What is computed in.

    Attributes
    ----------
    packages : tuple of str
        The modules that it takes.
    precisions : tuple of torch.dtype
        What it can compute in here.
    """

    name = ""
    needs_torch = False
    packages: ClassVar[tuple[str, ...]]
    gentler: Backend | None = None

    def __init__(self, precision: torch.dtype) -> None:
        self._precision = precision

    @property
    def precisions(self) -> tuple[torch.dtype, ...]:
        """What it can compute in here."""
        return (torch.float32,)

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether the packages are there."""
        return all(map(importlib.util.find_spec, cls.packages))

    def refusal(self, operation: Operation) -> str | None:
        """Say why an operation has no form for it; None where it has one."""
        if self._precision not in self.precisions:
            return f"it does not compute in {name_of(self._precision)}"
        return next((why for part in operation.parts if (why := self._refusal(part))), None)

    def at_best(self, by_torch: float, operations: int) -> float:
        """Return what may be hoped for; see `Backend.at_best`."""
        return 0.0

    @abstractmethod
    def _refusal(self, part: Part) -> str | None:
        """Say why a layer has no form for it."""

    def compile(
        self, operations: Sequence[Operation], inputs: Mapping[int, Tensor], outputs: Iterable[int]
    ) -> Compiled:
        """Compile operations; see `Backend.compile`."""
        shapes = {key: tuple(value.shape) for key, value in inputs.items()}
        with CleanErrors(label(operations), self.name):
            return self._compiled(operations, shapes, list(outputs))

    @abstractmethod
    def _compiled(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> Compiled:
        """Have the library make operations ready for inputs of these shapes."""


def label(operations: Sequence[Operation]) -> str:
    """Return what errors call some operations."""
    return f"{operations[0].label} and what follows it"


class CleanErrors:
    """Turns what a library raises into an error that tells the layer and what to do."""

    __slots__ = ("_label", "_library")

    def __init__(self, label: str, library: str) -> None:
        self._label, self._library = label, library

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Raise the error by its new name."""
        if isinstance(error, Exception) and not isinstance(error, CaffeError):
            hint = f"as {self._library} says; use caffe.set_engine('torch')"
            raise as_caffe_error(error, self._label, hint) from error


def name_of(precision: torch.dtype) -> str:
    """Return what `caffe.set_precision` calls it."""
    return str(precision).removeprefix("torch.")


def refusal(part: Part, rules: Rules[Any]) -> str | None:
    """Say why a library that has these rules cannot be given a layer; None where it can."""
    if not all(all(shape) for shape in part.read_shapes):
        return "a bottom is empty"
    if part.layer.passes_on:
        return None
    if not part.layer.stays_finite:
        # Of NaN, which it may make, the libraries' maxima make numbers.
        return "it may make what is no finite number"
    if part.layer.is_affine:
        return None if len(part.read_shapes[0]) > 1 else "the bottom has no axis of channels"
    return rules.refusal(part.layer, *part.read_shapes)


class Computed:
    """What is computed from inputs of fixed shapes; see `Compiled`.

    Parameters
    ----------
    outputs : list of int
        The memories whose final values are wanted.
    is_odd : bool
        Whether a number in it is none that is finite: of those something else would be made.
    """

    def __init__(self, outputs: list[int], is_odd: bool) -> None:
        self.outputs = outputs
        self._is_odd = is_odd

    def run(self) -> dict[int, Tensor] | None:
        """Compute the outputs, see `Compiled`; None where one is no finite number.

        Sums that are taken in another order may be infinite where the layers' are not.
        """
        found = self._computed()
        return found if all(map(_is_finite, found.values())) else None

    def _computed(self) -> dict[int, Tensor]:
        """Compute from the inputs; the results are overwritten by the next run."""
        raise NotImplementedError


class FromArrays(Computed):
    """What a library computes from arrays of its own.

    Parameters
    ----------
    inputs : mapping of int to tuple of int
        The memories that it starts from, with the blobs' shapes.
    outputs, is_odd
        See `Computed`.
    """

    def __init__(self, inputs: Mapping[int, Shape], outputs: list[int], is_odd: bool) -> None:
        super().__init__(outputs, is_odd)
        self._arrays: Arrays = {key: np.zeros(shape, np.float32) for key, shape in inputs.items()}
        self.inputs = {key: torch.from_numpy(array) for key, array in self._arrays.items()}

    def take(self, values: Mapping[int, Tensor]) -> bool:
        """Take the inputs' values; returns whether they can be computed from."""
        # By numpy: PyTorch's threads would wait for more work, on the library's CPUs.
        for key, array in self._arrays.items():
            array[...] = values[key].float().numpy()
        return all(map(are_finite, self._arrays.values())) and not self._is_odd


def are_finite(values: NDArray[Any]) -> bool:
    """Tell whether values are numbers whose squares can be summed up, by reading them once.

    So tiles and sums that are made of them are finite, too.
    """
    if values.size <= FEW:
        return math.isfinite(np.vdot(values, values))
    axes = range(values.ndim)
    return math.isfinite(np.einsum(values, axes, values, axes, []))


def _is_finite(values: Tensor) -> bool:
    if values.dtype == torch.float32:
        return are_finite(values.numpy())
    return math.isfinite(values.sum())


class LeftBehind:
    """What a library has compiled, of which nothing works in a forked process.

    Parameters
    ----------
    engine : str
        What `caffe.set_engine` calls the library.
    module : str, optional
        The module that loads it, and starts its threads. Where there is none they are PyTorch's,
        and only what has been compiled counts on there being as many as there were.
    """

    def __init__(self, engine: str, module: str = "") -> None:
        self._engine, self._module = engine, module
        self._compiled: weakref.WeakSet[Any] = weakref.WeakSet()
        in_forked_child(self._leave)

    def add(self, compiled: object) -> None:
        """Note something that has been compiled."""
        self._compiled.add(compiled)

    def _leave(self) -> None:
        """Do without the library where its threads are missing, if there are any."""
        if not (self._module in sys.modules if self._module else self._compiled):
            return
        mode.lose_engine(self._engine)
        for compiled in self._compiled:
            # Nor can it be taken apart without them: it stays until the process ends.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(compiled))
