"""The operations of a plan: a layer's own forward, and what every operation is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ...errors import CaffeError, as_caffe_error, is_out_of_memory
from ...layers.asking import are_finite
from ...layers.layer import Activation, Layer, as_tensors
from ...layers.rules import Rules
from ...memory.blob import Shape
from ...pytorch import F, torch
from ..steps import Step, said_of
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from .builder import Builder

SMALL_PARAMETER = 2**18
"""Parameters of at most so many numbers are copied, so that nobody can change them unseen."""

Values: TypeAlias = "dict[int, Tensor]"
"""The newest tensor of each memory, by the memory's identity."""


@dataclass
class Part:
    """One layer with the memories that it reads and writes; it keeps no blob alive."""

    layer: Layer
    reads: list[int]
    read_shapes: list[Shape]
    writes: list[int]
    shapes: list[Shape]

    @classmethod
    def of(cls, step: Step) -> Part:
        """Return a step's."""
        bottoms, tops = step.bottoms, step.tops
        return cls(
            step.layer,
            [id(blob.memory) for blob in bottoms],
            [blob.shape for blob in bottoms],
            [id(blob.memory) for blob in tops],
            [blob.shape for blob in tops],
        )


class Operation:
    """Computes some memories' values from others'.

    Attributes
    ----------
    how : str
        What runs, for people.
    parts : list of Part
        The layers that it stands for, in order.
    label : str
        The layer, as errors name it.
    reads, writes : list of int
        Memories, by identity.
    read_shapes, shapes : list of tuple of int
        The blobs' shapes in which they are read and written.
    params : list of Blob
        The parameters that it uses.
    has_raw_params : bool
        Whether a parameter's own memory is used at each run, and not a copy of it.
    is_fresh : bool
        Whether the results are tensors that no other memory has, and may thus be changed.
    asks_no_values : bool
        Whether what it does depends on shapes alone, so that a GPU can record it.
    hidden : list of int
        Those of `writes` that `run` leaves out; `run_apart` does not.
    is_worth_packing : bool
        Whether it is to run so often that large weights are packed.
    has_odd_params : bool
        Whether a parameter held what is no finite number when it was packed.
    is_exact : bool
        Whether to round off as little as it can: what others compute is compared with it.
    keeps_nan : bool
        Whether values may come that are no finite numbers: oneDNN's fused maxima make 0 of NaN.
    """

    how = ""
    has_raw_params = False
    is_fresh = True
    asks_no_values = True
    is_worth_packing = True
    has_odd_params = False
    is_exact = False
    keeps_nan = False

    def __init__(self, step: Step, settings: Settings) -> None:
        self._store = settings.store
        self._dtype = settings.precision
        self.label = step.label
        part = Part.of(step)
        self._names = dict(zip(part.reads, step.bottom_names, strict=True))
        self.parts = [part]
        self.reads, self.read_shapes = part.reads, part.read_shapes
        self.writes, self.shapes = part.writes, part.shapes
        self.params = list(step.layer.blobs)
        self.hidden: list[int] = []

    def refresh(self) -> bool:
        """Pack the parameters anew; they have changed, or may have.

        Returns whether it must be done again before the next run: somebody holds an array of a
        parameter, and may write into it.
        """
        # Before the look at the values: what is written after it counts for the next time.
        is_held = self.is_held
        self.pack()
        return is_held

    @property
    def is_held(self) -> bool:
        """Whether somebody holds an array of a parameter."""
        return any(blob.memory.is_lent for blob in self.params)

    def pack(self) -> None:
        """Make of the parameters what `run` uses."""

    def release(self) -> None:
        """Drop what `pack` made."""

    @property
    def is_trying(self) -> bool:
        """Whether it is still found out which way of computing is the quickest."""
        return False

    @property
    def found_out(self) -> str:
        """What came of that, for people."""
        return ""

    @property
    def may_change_unseen(self) -> bool:
        """Whether somebody holds an array of a parameter that is used as it lies."""
        return self.has_raw_params and self.is_held

    def facts(self) -> str:
        """Return names and shapes, for errors."""
        names = (self._names.get(key, "") for key in self.reads)
        return said_of(zip(names, self.read_shapes, strict=True), self.params)

    @contextmanager
    def blame(self) -> Iterator[None]:
        """Turn whatever is raised inside into an error that names the layer and its blobs."""
        try:
            yield
        except Exception as error:
            named = as_caffe_error(error, self.label, self.facts())
            if named is error:
                raise
            raise named from error

    @contextmanager
    def memory_told(self) -> Iterator[None]:
        """Say where memory does not suffice, and of nothing else."""
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            named = as_caffe_error(error, self.label, self.facts())
            if named is error:
                raise
            raise named from error

    def run(self, values: Values) -> None:
        """Compute."""
        raise NotImplementedError

    def run_apart(self, values: Values) -> None:
        """Compute what is hidden, too."""
        self.run(values)

    def bottom(self, values: Values, dtype: torch.dtype) -> Tensor:
        """Return the first bottom's value in the blob's shape."""
        value = values[self.reads[0]]
        if value.shape != self.read_shapes[0]:
            value = value.reshape(self.read_shapes[0])
        return value if value.dtype is dtype else value.to(dtype)

    def bottoms(self, values: Values) -> list[Tensor]:
        """Return the bottoms' values in the blobs' shapes."""
        return [
            value if value.shape == shape else value.reshape(shape)
            for value, shape in zip(
                map(values.__getitem__, self.reads), self.read_shapes, strict=True
            )
        ]


def in_float32(
    operations: Sequence[Operation], inputs: Mapping[int, Tensor], wanted: Set[int]
) -> Values:
    """Return memories' values as the layers' own forwards compute them.

    Parameters
    ----------
    operations : sequence of Operation
        One after the other.
    inputs : mapping of int to Tensor
        What they start from, by memory.
    wanted : set of int
        Which memories.
    """
    parts = [part for operation in operations for part in operation.parts]
    last = {read: i for i, part in enumerate(parts) for read in (*part.reads, *part.writes)}
    values = {read: x.float() for read, x in inputs.items()}
    for i, part in enumerate(parts):
        xs = [
            values[read].reshape(shape).contiguous()
            for read, shape in zip(part.reads, part.read_shapes, strict=True)
        ]
        params = (blob.data_tensor() for blob in part.layer.blobs)
        tops = xs if part.layer.passes_on else as_tensors(part.layer.forward(*xs, *params))
        values.update(zip(part.writes, tops, strict=False))
        for read in {*part.reads, *part.writes} - wanted:
            if last[read] == i:
                del values[read]
    return values


MakeOperation = Callable[["Builder", int], Operation | None]

operation: Rules[MakeOperation] = Rules("quicker form")
"""How a layer becomes an operation other than its own forward.

A rule is given the builder and the step's number; it returns None where the layers around it do not
allow it. Its condition is given the step and the settings.
"""


class LayerOperation(Operation):
    """A layer's own forward."""

    how = "its own forward"

    def __init__(self, step: Step, settings: Settings) -> None:
        super().__init__(step, settings)
        self._layer = step.layer
        self._dtype = settings.precision if step.layer.takes_short_numbers else torch.float32
        self.is_fresh = step.layer.fresh_tops
        self.asks_no_values = step.layer.asks_no_values
        self.has_raw_params = any(blob.count > SMALL_PARAMETER for blob in self.params)

    def pack(self) -> None:
        self._copies = [
            blob.data_tensor(self._store).to(self._dtype, copy=True)
            if blob.count <= SMALL_PARAMETER
            else None
            for blob in self.params
        ]
        self.has_odd_params = self._store is None and not all(
            are_finite(blob.data_tensor() if copy is None else copy)
            for blob, copy in zip(self.params, self._copies, strict=True)
        )

    def release(self) -> None:
        self._copies = []

    def run(self, values: Values) -> None:
        inputs = self.bottoms(values)
        # Float32 that is only put elsewhere, as PriorBox's places are, keeps its digits.
        is_kept = self._layer.rearranges and all(x.dtype == torch.float32 for x in inputs)
        inputs = inputs if is_kept else [x.to(self._dtype) for x in inputs]
        if not self._layer.takes_any_strides:
            inputs = [x.contiguous() for x in inputs]
        for blob, copy in zip(self.params, self._copies, strict=True):
            inputs.append(blob.data_tensor(self._store).to(self._dtype) if copy is None else copy)
        results = as_tensors(self._layer.forward(*inputs))
        if len(results) < len(self.writes):
            raise CaffeError(
                f"forward returned {len(results)} results for {len(self.writes)} tops, "
                "as a layer may only that does not say is_pure"
            )
        for result, shape in zip(results, self.shapes, strict=False):
            if result.shape != shape:
                raise CaffeError(
                    f"forward returned the shape {tuple(result.shape)}, but top_shapes {shape}, "
                    "as a layer may only that does not say is_pure"
                )
        values.update(zip(self.writes, results, strict=False))


class Nothing(Operation):
    """Zeros in the tops' shapes, whatever the bottoms: these are empty."""

    how = "nothing to compute"

    def run(self, values: Values) -> None:
        for key, shape in zip(self.writes, self.shapes, strict=True):
            values[key] = torch.zeros(shape, dtype=self._dtype, device=values[self.reads[0]].device)


class PassOn(Operation):
    """A layer that does nothing to its bottom: Dropout at TEST."""

    how = "nothing to do"
    is_fresh = False

    def run(self, values: Values) -> None:
        values[self.writes[0]] = values[self.reads[0]]


class Activate(Operation):
    """An activation in place of a value that nobody else has."""

    how = "in its bottom's place"

    def __init__(self, step: Step, settings: Settings, activation: Activation) -> None:
        super().__init__(step, settings)
        self._activation = activation

    def run(self, values: Values) -> None:
        activate(values[self.writes[0]], self._activation)


def activate(y: Tensor, activation: Activation) -> Tensor:
    """Apply an activation to a tensor in its place."""
    if activation.slope == 0:
        y = F.relu_(y)
    elif activation.slope != 1:
        y = F.leaky_relu_(y, activation.slope)
    if Activation(1.0, activation.least, activation.most) != Activation():
        y = y.clamp_(activation.least, activation.most)
    return y
