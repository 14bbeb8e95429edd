"""A graph in ONNX's operators while it is made, and the rules that make it of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers.layer import Layer
from ..layers.rules import Rules
from ..memory.blob import Shape
from ..vectors import BlobVec

Array = NDArray[Any]

LOWEST = float(np.finfo(np.float32).min)
"""What counts as less than any number."""

LAST = np.iinfo(np.int64).max
"""As the end of a slice: the axis's."""


class Value:
    """One value: a blob's, or one between. Its name is settled when the graph is written."""

    __slots__ = ("array", "name")

    def __init__(self, name: str | None = None, array: Array | None = None) -> None:
        self.name = name
        self.array = array
        """What it always is, where that is known."""


@dataclass
class Operation:
    """One operator with what it reads and writes."""

    kind: str
    inputs: list[Value | None]
    outputs: list[Value]
    attributes: dict[str, Any]
    layer: str


@dataclass
class Block:
    """Operations in order: a graph's, or those of a body that is run many times."""

    operations: list[Operation] = field(default_factory=list)


@dataclass
class Body:
    """What `Scan` repeats: it reads and writes these values, and sees all values outside."""

    inputs: list[Value]
    outputs: list[Value]
    block: Block
    axes: int = 2
    """How many axes each of these has."""


class OnnxGraph:
    """What rules write into.

    Parameters
    ----------
    opset : int
        The version of ONNX's operators.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.top = Block()
        self.constants: list[Value] = []
        """In the order in which they were made, parameters among them."""
        self.layer: Layer | None = None
        self._block = self.top
        self._shapes: dict[int, Shape] = {}
        self._kept: list[Value] = []
        self._parameters: dict[str, Value] = {}

    def op(self, kind: str, *inputs: Value | None, **attributes: Any) -> Value:
        """Add an operator of one output; None leaves an optional input out."""
        return self.many(kind, 1, *inputs, **attributes)[0]

    def many(self, kind: str, count: int, *inputs: Value | None, **attributes: Any) -> list[Value]:
        """Add an operator of so many outputs."""
        outputs = [Value() for _ in range(count)]
        given = {name: value for name, value in attributes.items() if value is not None}
        name = "" if self.layer is None else self.layer.name
        self._block.operations.append(Operation(kind, list(inputs), outputs, given, name))
        return outputs

    def constant(self, values: Any) -> Value:
        """Return numbers as a value: whole ones as int64, others as float32."""
        array = np.asarray(values)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64)
        elif array.dtype == np.float64:
            array = array.astype(np.float32)
        value = Value(array=array)
        self.constants.append(value)
        return value

    def parameter(self, index: int, array: Array | None = None) -> Value:
        """Return one of the layer's parameters, or what was made of it, called <layer>.<i>."""
        assert self.layer is not None
        own = self.layer.blobs[index]
        if array is None:
            array = own.data_tensor().numpy()
        value = Value(f"{self.layer.name}.{index}", np.ascontiguousarray(array, np.float32))
        self.constants.append(value)
        return value

    def count_parameters(self) -> int:
        """Return how many parameters the layer has."""
        assert self.layer is not None
        blobs: BlobVec = self.layer.blobs
        return len(blobs)

    def arrays(self) -> list[Any]:
        """Return the layer's parameters as tensors."""
        assert self.layer is not None
        return [blob.data_tensor() for blob in self.layer.blobs]

    def shape(self, x: Value) -> Shape:
        """Return the shape of a layer's bottom."""
        return self._shapes[id(x)]

    def note_shape(self, x: Value, shape: Shape) -> Value:
        """Keep a blob's shape."""
        self._shapes[id(x)] = shape
        # Python gives a value's number to another one when it is gone.
        self._kept.append(x)
        return x

    # What many rules need.

    def reshaped(self, x: Value, shape: Sequence[int]) -> Value:
        """Return the same numbers in another shape."""
        return self.op("Reshape", x, self.constant(np.asarray(shape, np.int64)))

    def reduced(self, kind: str, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        """Return a sum, mean, ... along axes."""
        if self.opset >= 18 or kind == "ReduceSum":
            which = self.constant(np.asarray(axes, np.int64))
            return self.op(kind, x, which, keepdims=int(keepdims))
        return self.op(kind, x, axes=list(axes), keepdims=int(keepdims))

    def cut(self, x: Value, axis: int, start: int, end: int, step: int = 1) -> Value:
        """Return a part of a value along an axis."""
        return self.op("Slice", x, *(self.constant([n]) for n in (start, end, axis, step)))

    def cut_into(self, x: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
        """Return a value in parts along an axis."""
        return self.many("Split", len(sizes), x, self.constant(list(sizes)), axis=axis)

    def padded(self, x: Value, sides: Sequence[tuple[int, int]], value: float = 0) -> Value:
        """Return a value with numbers added (or cut off) before and behind each axis."""
        if not any(map(any, sides)):
            return x
        pads = [before for before, _ in sides] + [behind for _, behind in sides]
        return self.op("Pad", x, self.constant(pads), self.constant(np.float32(value)))

    def times(self, x: Value, factor: float) -> Value:
        """Return x * factor."""
        return x if factor == 1 else self.op("Mul", x, self.constant(np.float32(factor)))

    def plus(self, x: Value, summand: float) -> Value:
        """Return x + summand."""
        return x if summand == 0 else self.op("Add", x, self.constant(np.float32(summand)))

    def clipped(self, x: Value, least: float | None, most: float | None = None) -> Value:
        """Return x between bounds; None and the infinite ones are none."""
        bounds = [
            None if bound is None or np.isinf(bound) else self.constant(np.float32(bound))
            for bound in (least, most)
        ]
        return self.op("Clip", x, *bounds) if any(bounds) else x

    def whole(self, x: Value) -> Value:
        """Return numbers as int64, cut off towards zero."""
        return self.op("Cast", x, to=7)

    def floating(self, x: Value) -> Value:
        """Return numbers as float32."""
        return self.op("Cast", x, to=1)

    def sized_like(self, x: Value, axes: int, rest: Sequence[int]) -> Value:
        """Return a shape: the first `axes` lengths of a value's, and others behind them."""
        lead = self.op("Shape", x, end=axes)
        return self.op("Concat", lead, self.constant(list(rest)), axis=0)

    def resized(self, x: Value, size: Sequence[int], **attributes: Any) -> Value:
        """Return maps whose axes behind the second have another length."""
        if self.opset >= 18:
            attributes["axes"] = list(range(2, 2 + len(size)))
            return self.op("Resize", x, None, None, self.constant(list(size)), **attributes)
        return self.op("Resize", x, None, None, self.sized_like(x, 2, size), **attributes)

    def scanned(
        self,
        states: Sequence[Value],
        sequences: Sequence[Value],
        step: Callable[[list[Value], list[Value]], tuple[list[Value], Value]],
    ) -> list[Value]:
        """Run a step for each first index of sequences; return the last states and the outputs."""
        before = [Value() for _ in states]
        now = [Value() for _ in sequences]
        block = Block()
        with self._inside(block):
            after, output = step(before, now)
            # What a body gives back must be of its own making.
            results = [self.op("Identity", value) for value in (*after, output)]
        body = Body([*before, *now], results, block)
        return self.many(
            "Scan",
            len(states) + 1,
            *states,
            *sequences,
            body=body,
            num_scan_inputs=len(sequences),
        )

    @contextmanager
    def _inside(self, block: Block) -> Iterator[None]:
        outside, self._block = self._block, block
        try:
            yield
        finally:
            self._block = outside


OnnxRule = Callable[..., Value | Sequence[Value]]

onnx: Rules[OnnxRule] = Rules("form in ONNX")
"""What layers are in ONNX's operators: given the layer, the graph and the bottoms' values."""


def refuse(reason: str, *kinds: type[Layer]) -> None:
    """Say of layers why they have no form in ONNX."""

    def never(layer: Layer, *shapes: Shape) -> str:
        return reason

    @onnx.rule(*kinds, unless=never)
    def _refused(layer: Layer, graph: OnnxGraph, *bottoms: Value) -> Sequence[Value]:
        raise AssertionError(f"{layer.type} is refused")
