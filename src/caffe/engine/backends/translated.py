"""A library's graph that grows by the layers' translations, whichever library that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ...errors import CaffeError
from ...layers.translation import Value, openvino
from ...memory.blob import Shape
from ..plan.operation import Operation, Part
from .libraries import CleanErrors, are_finite

Array = NDArray[Any]


class TranslatedGraph:
    """A graph of some operations, grown one layer after the other.

    A subclass is a `caffe.layers.translation.Graph` besides.

    Attributes
    ----------
    library : str
        What people call the library.
    values : dict of int to object
        The newest value of each memory; those of the inputs to begin with.
    has_odd_params : bool
        Whether a number in the graph is none that is finite.
    """

    library = ""

    def __init__(self) -> None:
        self.values: dict[int, Value] = {}
        self.has_odd_params = False

    def grow(self, operations: Sequence[Operation]) -> None:
        """Add operations, in running order.

        Raises
        ------
        CaffeError
            The library refuses a layer, or makes another shape of it than Caffe.
        """
        for operation in operations:
            for part in operation.parts:
                with CleanErrors(operation.label, self.library):
                    self._add(part, operation.label)

    def _add(self, part: Part, label: str) -> None:
        xs = [
            self.shaped(self.values[key], shape)
            for key, shape in zip(part.reads, part.read_shapes, strict=True)
        ]
        for key, top, shape in zip(part.writes, self._tops(part, xs), part.shapes, strict=True):
            made = self.settled(top, shape)
            if made != shape:
                raise CaffeError(
                    f"{label}: {self.library} makes {made} of what is {shape} in Caffe; "
                    "use caffe.set_engine('torch')"
                )
            self.values[key] = top

    def _tops(self, part: Part, xs: list[Value]) -> list[Value]:
        layer = part.layer
        if layer.passes_on:
            return xs
        if layer.is_affine:
            params = [blob.data_tensor().double() for blob in layer.blobs]
            factor, summand = (
                None if one is None else one.numpy().reshape(-1) for one in layer.affine(*params)
            )
            return [self.scaled(xs[0], factor, summand)]
        return self.tops_of(openvino.get(layer, *part.read_shapes)(layer, self, *xs))

    def note(self, *arrays: Array) -> None:
        """Note whether numbers that the graph holds are finite."""
        if not all(map(are_finite, arrays)):
            self.has_odd_params = True

    # What a subclass has of its own.

    def shaped(self, x: Value, shape: Sequence[int]) -> Value:
        """Return a value in another shape."""
        raise NotImplementedError

    def scaled(self, x: Value, factor: Array | None, summand: Array | None) -> Value:
        """Return a value times a factor and with a summand for each channel; None for 1 and 0."""
        raise NotImplementedError

    def settled(self, top: Value, shape: Shape) -> Shape:
        """Return what shape a layer's top has; `shape` is what Caffe says."""
        raise NotImplementedError

    def tops_of(self, made: Any) -> list[Value]:
        """Return the tops that a translation has made."""
        raise NotImplementedError
