"""A Caffe net while it is made, and the rules that make it of ONNX's nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError, NetError, as_caffe_error
from ..layers.registry import create
from ..memory.blob import Shape, checked_shape
from ..net_spec import assign_proto
from ..proto.caffe_pb2 import TEST, LayerParameter
from ..vectors import BlobVec
from .targets import Target

Array = NDArray[Any]


class Blob:
    """A blob of the net that is made; its name is settled when the net is whole."""

    __slots__ = ("name", "shape")

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape: Shape = tuple(shape)
        self.name = ""


class Value:
    """One of the ONNX graph's values: numbers that never change, or what a blob holds.

    Parameters
    ----------
    blob : Blob, optional
        Where it stands.
    order : sequence of int, optional
        For each axis of the value, which of the blob's it is; by default the same.
    array : ndarray, optional
        What it always is.
    """

    __slots__ = ("_blob", "array", "order")

    def __init__(
        self,
        blob: Blob | None = None,
        order: Sequence[int] | None = None,
        array: Array | None = None,
    ) -> None:
        self._blob = blob
        self.array = array
        axes = () if blob is None else range(len(blob.shape))
        self.order: tuple[int, ...] = tuple(axes if order is None else order)

    @property
    def blob(self) -> Blob:
        """Where the value stands; not for constants."""
        assert self._blob is not None
        return self._blob

    @property
    def is_constant(self) -> bool:
        """Whether the numbers are known."""
        return self.array is not None

    @property
    def shape(self) -> Shape:
        """The shape that ONNX's nodes see."""
        if self.array is not None:
            return self.array.shape
        return tuple(self.blob.shape[axis] for axis in self.order)

    @property
    def is_plain(self) -> bool:
        """Whether the value's axes are the blob's, in the same order."""
        return self.order == tuple(range(len(self.order)))


@dataclass(eq=False)
class Written:
    """A layer of the net that is made.

    Attributes
    ----------
    param : LayerParameter
        Its type and settings, without names.
    bottoms, tops : list of Blob
        What it reads and makes.
    arrays : list of ndarray
        Its parameters.
    hint : str
        What it should be called.
    is_named : bool
        Whether that is the name that the model's author gave to its weights.
    """

    param: LayerParameter
    bottoms: list[Blob]
    tops: list[Blob]
    arrays: list[Array]
    hint: str = ""
    is_named: bool = False


@dataclass
class Node:
    """One of ONNX's nodes, its inputs' values known.

    Attributes
    ----------
    kind : str
        The operator.
    label : str
        The name, as errors give it.
    inputs : list of Value or None
        None where an optional one is left out.
    attributes : dict
        As plain values of Python's.
    outputs : int
        How many outputs it has.
    opset : int
        The version of the operators.
    """

    kind: str
    label: str
    inputs: list[Value | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 0
    wanted: list[bool] = field(default_factory=list)
    """Which outputs somebody reads."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def need(self, name: str) -> Any:
        """Return an attribute that must be there."""
        if name not in self.attributes:
            raise NetError(f"its attribute '{name}' is missing; the model is damaged")
        return self.attributes[name]

    def has(self, position: int) -> bool:
        """Whether an optional input is given."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def value(self, position: int) -> Value:
        """Return an input, which must be there."""
        if not self.has(position):
            raise NetError(f"input {position} is missing; the model is damaged")
        value = self.inputs[position]
        assert value is not None
        return value

    def array(self, position: int, name: str = "") -> Array:
        """Return an input that must be known.

        Raises
        ------
        NetError
            It is computed while the net runs.
        """
        array = self.value(position).array
        if array is None:
            what = f"'{name}' (input {position})" if name else f"input {position}"
            raise NetError(
                f"{what} is computed while the net runs; a Caffe layer needs it to be known: "
                "export the model with fixed shapes and weights"
            )
        return array

    def setting(self, name: str, position: int, default: Any = None) -> Any:
        """Return what older operators have as an attribute and newer ones as an input."""
        if name in self.attributes:
            return self.attributes[name]
        if self.has(position):
            found = self.array(position, name)
            return found.item() if found.ndim == 0 else found.tolist()
        return default

    def axis(self, default: int = 0, rank: int | None = None) -> int:
        """Return the attribute `axis`, counted from the front."""
        axis = int(self.get("axis", default))
        rank = len(self.value(0).shape) if rank is None else rank
        return axis + rank if axis < 0 else axis


class CaffeGraph:
    """What rules write into.

    Parameters
    ----------
    target : Target
        Who will read the net.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.layers: list[Written] = []
        self._cuts: dict[tuple[int, int, tuple[int, ...]], list[Blob]] = {}

    # Layers.

    def layer(
        self,
        kind: str,
        *bottoms: Value | Blob,
        arrays: Sequence[Array] = (),
        **messages: dict[str, Any],
    ) -> Value:
        """Add a layer of one top; its parameter messages are given as dicts by their names."""
        return self.many(kind, 1, *bottoms, arrays=arrays, **messages)[0]

    def many(
        self,
        kind: str,
        tops: int,
        *bottoms: Value | Blob,
        arrays: Sequence[Array] = (),
        **messages: dict[str, Any],
    ) -> list[Value]:
        """Add a layer of so many tops.

        Raises
        ------
        NetError
            The target has no such layer, or it does not take its bottoms.
        """
        self.target.check(kind, messages)
        param = LayerParameter(type=kind)
        for name, settings in messages.items():
            assign_proto(param, name, settings)
        read = [b if isinstance(b, Blob) else self.plain(b).blob for b in bottoms]
        for array in arrays:
            if array.dtype.kind not in "fi" or array.dtype.itemsize == 1:
                raise NetError(
                    f"its weights are no floats ({array.dtype}), as those of quantized models "
                    "are: import the model as it was before (float32)"
                )
        numbers = [np.asarray(array, np.float32, order="C") for array in arrays]
        shapes = _top_shapes(param, tops, [b.shape for b in read], [a.shape for a in numbers])
        made = [Blob(shape) for shape in shapes]
        self.layers.append(Written(param, read, made, numbers))
        return [Value(blob) for blob in made]

    def input(self, shape: Sequence[int]) -> Value:
        """Add an input."""
        return self.layer("Input", input_param={"shape": {"dim": list(shape)}})

    # The order of axes.

    def plain(self, x: Value) -> Value:
        """Return a value whose blob has its axes in the value's order."""
        if x.is_plain:
            return x
        from .operators.arranging import permuted

        return permuted(self, Value(x.blob), x.order)

    def alike(self, value: Value, blob: Value) -> Value:
        """Return a blob that was made of a value's own, its axes in that value's order."""
        return Value(blob.blob, value.order)

    def reshaped(self, x: Value, shape: Sequence[int]) -> Value:
        """Return the same numbers in another shape."""
        x = self.plain(x)
        if x.shape == tuple(shape):
            return x
        dims = [int(n) for n in shape]
        if math.prod(dims) != math.prod(x.shape):
            raise NetError(f"numbers of shape {x.shape} do not fill {tuple(dims)}")
        if len(dims) == 2 and len(x.shape) > 2 and dims[0] == x.shape[0]:
            # No more of Flatten than that: some readers pass over where it begins and ends.
            return self.layer("Flatten", x)
        if dims and x.shape and dims[0] == x.shape[0]:
            dims[0] = 0
        return self.layer("Reshape", x, reshape_param={"shape": {"dim": dims}})

    def cuts(self, x: Value, axis: int, points: Sequence[int]) -> list[Value]:
        """Return the parts of a plain value; the same cut is made once, whoever asks for it."""
        key = (id(x.blob), axis, tuple(points))
        if key not in self._cuts:
            settings: dict[str, object] = {} if axis == 1 else {"axis": axis}
            settings["slice_point"] = list(points)
            parts = self.many("Slice", len(points) + 1, x, slice_param=settings)
            self._cuts[key] = [part.blob for part in parts]
        return [Value(blob) for blob in self._cuts[key]]

    # What many rules need.

    def power(self, x: Value, power: float = 1, scale: float = 1, shift: float = 0) -> Value:
        """Return (shift + scale * x) ** power, whatever the order of axes."""
        settings = {"power": power, "scale": scale, "shift": shift}
        defaults = {"power": 1, "scale": 1, "shift": 0}
        given = {name: float(n) for name, n in settings.items() if n != defaults[name]}
        if not given:
            return x
        if power == 1 and "Power" not in self.target.layers and len(x.blob.shape) > 1:
            from .operators.arithmetic import channels_scaled

            count = x.blob.shape[1]
            made = channels_scaled(
                self, Value(x.blob), np.full(count, scale), np.full(count, shift)
            )
            return self.alike(x, made)
        return self.alike(x, self.layer("Power", x.blob, power_param=given))

    def unary(self, kind: str, x: Value, **messages: dict[str, Any]) -> Value:
        """Add a layer that works on each number by itself, whatever the order of axes."""
        return self.alike(x, self.many(kind, 1, x.blob, arrays=(), **messages)[0])


def _top_shapes(
    param: LayerParameter, tops: int, bottoms: Sequence[Shape], arrays: Sequence[Shape]
) -> list[Shape]:
    """The shapes of a layer's tops, by the layer itself; its parameters' shapes are checked."""
    asked = LayerParameter()
    asked.CopyFrom(param)
    asked.name = param.type
    asked.phase = TEST
    asked.top.extend(f"top{i}" for i in range(tops))
    if param.type == "Input":
        return [checked_shape(param.input_param.shape[0].dim)]
    try:
        layer = create(asked)
        layer.setup(*bottoms)
        layer.blobs = BlobVec(parameter.blob() for parameter in layer.parameters(*bottoms))
        wanted = [blob.shape for blob in layer.blobs]
        shapes = layer.top_shapes(*bottoms)
    except CaffeError:
        raise
    except Exception as error:
        raise as_caffe_error(error, param.type) from error
    if arrays and wanted != [tuple(shape) for shape in arrays]:
        raise NetError(
            f"{param.type} takes parameters of {wanted}, not of {list(arrays)}: the model's "
            "weights do not fit the shapes that come in"
        )
    if any(n < 1 for shape in shapes for n in shape):
        raise NetError(f"{param.type} would make nothing: {shapes}")
    return [checked_shape(shape) for shape in shapes]


Rule = Callable[[CaffeGraph, Node], "Value | Sequence[Value]"]
F = TypeVar("F", bound=Rule)


@dataclass(frozen=True)
class Entry:
    """How an operator is said in layers."""

    rule: Rule
    any_order: bool
    """Whether the rule takes values whose axes stand in another order than their blobs'."""


RULES: dict[str, Entry] = {}
"""By operator; filled by the files of `operators`."""


def onnx(*kinds: str, any_order: bool = False) -> Callable[[F], F]:
    """Enter a function as what some of ONNX's operators are in layers."""

    def enter(rule: F) -> F:
        for kind in kinds:
            RULES[kind] = Entry(rule, any_order)
        return rule

    return enter
