"""A net as an ONNX model: its layers' rules run in order, the values named after the blobs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, CaffeError, NetError, as_caffe_error, require
from ..layers.rules import Rules
from ..memory.blob import Shape
from ..net.net import Net
from ..version import __version__
from . import operators
from .onnx_graph import Array, Body, OnnxGraph, OnnxRule, Operation, Value, onnx
from .onnx_picture import prepared
from .selection import Selection, select

if TYPE_CHECKING:
    from ..io.recipe import PictureRecipe

OLDEST_OPSET = 17
"""The default, too: it can say all that layers need, and most tools read it."""

MOST_IN_ONE = 2**31 - 2**20
"""How many bytes of numbers a file of protobuf's takes, with room for all else."""

PICTURE = "picture"
"""What the first input is called where the model prepares pictures itself."""

OVERWRITTEN = "_out"
"""Behind the name of an output that is an input, too: layers ran on it in place."""

BATCH = "batch"
"""How the length of the first axis is called where it is not fixed."""


def onnx_package() -> ModuleType:
    """Return the package onnx.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    return require("onnx", "onnx", "ONNX models")


@cache
def rules() -> Rules[OnnxRule]:
    """Return the rules, all files of operators read."""
    for module in pkgutil.iter_modules(operators.__path__, f"{operators.__name__}."):
        importlib.import_module(module.name)
    return onnx


@dataclass
class Model:
    """A model that is yet to be written.

    Attributes
    ----------
    proto : onnx.ModelProto
        Everything but the large numbers.
    large : dict of str to ndarray
        Those, by the names that they have in `proto`.
    """

    proto: Any
    large: dict[str, Array]


def build(
    net: Net,
    outputs: Sequence[str] | None = None,
    opset: int = OLDEST_OPSET,
    dynamic_batch: bool = False,
    recipe: PictureRecipe | None = None,
) -> Model:
    """Make an ONNX model of a net.

    Parameters
    ----------
    net : Net
        With its parameters; its inputs' shapes are the model's.
    outputs : sequence of str, optional
        The blobs that the model gives; the net's outputs by default. Layers that these do not
        need are left out.
    opset : int
        The version of ONNX's operators, from 17 on.
    dynamic_batch : bool
        Leave the length of the inputs' first axis open.
    recipe : PictureRecipe, optional
        How pictures go into the first input; the model then takes pictures.

    Raises
    ------
    NetError
        A layer has no form in ONNX; the text names it and says why.
    ArgumentError
        There is no such blob or operator set.
    MissingExtraError
        The package onnx is not installed.
    """
    package = onnx_package()
    newest = package.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ArgumentError(f"opset must be {OLDEST_OPSET} to {newest}, not {opset}")
    selection = select(net, outputs)
    shapes = {
        blob: top.shape
        for step in net.inside.steps
        for blob, top in zip(step.node.tops, step.tops, strict=True)
    }
    drawn = _Drawing(selection, shapes, opset, recipe)
    wider = shapes
    if dynamic_batch:
        wider = _with_another_batch(selection, shapes)
        _open_batch(drawn, _Drawing(selection, wider, opset, recipe))
    return _Writer(package, drawn, wider).model()


class _Drawing:
    """The rules of a net's layers, run for these shapes of its blobs."""

    def __init__(
        self,
        selection: Selection,
        shapes: dict[int, Shape],
        opset: int,
        recipe: PictureRecipe | None = None,
    ) -> None:
        self.selection = selection
        self.shapes = shapes
        self.graph = OnnxGraph(opset)
        self.values: dict[int, Value] = {}
        self.given = {
            blob: self.graph.note_shape(Value(), shapes[blob]) for blob in selection.inputs
        }
        self.values.update(self.given)
        self.recipe = recipe
        if recipe is not None:
            (first, *_) = selection.inputs or [-1]
            if first == -1 or len(shapes[first]) != 4:
                raise ArgumentError("a recipe for pictures needs a net whose first input is one")
            self.values[first] = prepared(self.graph, self.given[first], shapes[first], recipe)
        for blob, tensor in selection.fixed.items():
            self.values[blob] = self.graph.note_shape(
                self.graph.constant(tensor.numpy()), tuple(tensor.shape)
            )
        for step in selection.steps:
            label = f"layer '{step.layer.name}' ({step.layer.type})"
            try:
                self._draw(step)
            except Exception as error:
                named = as_caffe_error(error, label)
                if named is error:
                    raise
                raise named from error

    def _draw(self, step: Any) -> None:
        bottoms = [self.values[blob] for blob in step.node.bottoms]
        shapes = [self.shapes[blob] for blob in step.node.bottoms]
        for bottom, shape in zip(bottoms, shapes, strict=True):
            # A layer before may have handed the same value on as another blob.
            self.graph.note_shape(bottom, shape)
        layer = step.layer
        reason = rules().refusal(layer, *shapes)
        if reason is not None:
            raise NetError(f"there is no form of it in ONNX: {reason}", word=layer.name)
        rule = rules().find(layer, *shapes)
        assert rule is not None
        self.graph.layer = layer
        found = rule(layer, self.graph, *bottoms)
        tops = [found] if isinstance(found, Value) else found
        for blob, value in zip(step.node.tops, tops, strict=False):
            self.values[blob] = value


def _with_another_batch(selection: Selection, shapes: dict[int, Shape]) -> dict[int, Shape]:
    """Shapes of all blobs where the inputs' first axis is one longer."""
    if not selection.inputs:
        raise ArgumentError("a net without inputs has no batch to leave open")
    first = shapes[selection.inputs[0]]
    found: dict[int, Shape] = {b: tuple(t.shape) for b, t in selection.fixed.items()}
    for blob in selection.inputs:
        shape = shapes[blob]
        found[blob] = shape
        if shape and first and shape[0] == first[0]:
            found[blob] = (shape[0] + 1, *shape[1:])
    for step in selection.steps:
        layer = step.layer
        try:
            tops = layer.top_shapes(*(found[blob] for blob in step.node.bottoms))
        except CaffeError as error:
            raise NetError(
                f"the batch cannot be left open: layer '{layer.name}' ({layer.type}) takes no "
                f"other one: {error}"
            ) from error
        finally:
            # Some layers remember what they were last asked about.
            layer.top_shapes(*(shapes[blob] for blob in step.node.bottoms))
        found.update(zip(step.node.tops, tops, strict=False))
    return found


def _open_batch(drawn: _Drawing, wider: _Drawing) -> None:
    """Where two batches make a difference, let the operators find it out by themselves.

    A shape in which one number differs is left to be found (-1); nothing else may differ.
    """
    shapes = {
        id(operation.inputs[1]): operation
        for operation in drawn.graph.top.operations
        if operation.kind == "Reshape"
    }
    layers = {
        id(value): operation.layer
        for operation in drawn.graph.top.operations
        for value in operation.inputs
    }
    for one, other in zip(drawn.graph.constants, wider.graph.constants, strict=True):
        assert one.array is not None
        assert other.array is not None
        # Those with a name are parameters, which no batch changes.
        floats = one.array.dtype.kind == "f"
        if one.name or np.array_equal(one.array, other.array, equal_nan=floats):
            continue
        different = (
            np.flatnonzero(one.array != other.array)
            if one.array.shape == other.array.shape
            else np.zeros(0)
        )
        if id(one) not in shapes or len(different) != 1 or -1 in one.array:
            name = layers.get(id(one), "")
            raise NetError(
                f"the batch cannot be left open: what layer '{name}' does depends on how large "
                "it is; export the net with the batch that is wanted",
                word=name,
            )
        one.array = one.array.copy()
        one.array[different[0]] = -1


class _Writer:
    """Names for all values, and the model's messages."""

    def __init__(self, package: ModuleType, drawn: _Drawing, wider: dict[int, Shape]) -> None:
        self.package = package
        self.helper = package.helper
        self.drawn = drawn
        self.wider = wider
        self.large: dict[str, Array] = {}
        self._taken: set[str] = set()
        self._names: dict[int, str] = {}
        self._counts: dict[str, int] = {}

    def model(self) -> Model:
        """Write the whole model."""
        selection, graph = self.drawn.selection, self.drawn.graph
        operations = graph.top.operations
        operations += self._name_blobs()
        nodes = [self._node(operation) for operation in operations]
        used = {id(value) for operation in _all(operations) for value in operation.inputs if value}
        initializers = [self._tensor(value) for value in graph.constants if id(value) in used]
        written = self.helper.make_graph(
            nodes,
            selection.net.name or "net",
            [self._info(blob, given=True) for blob in selection.inputs],
            [self._info(blob, given=False) for blob in selection.outputs],
            initializers,
        )
        opsets = [self.helper.make_opsetid("", graph.opset)]
        proto = self.helper.make_model(
            written,
            opset_imports=opsets,
            ir_version=self.helper.find_min_ir_version_for(opsets),
            producer_name="recaffe",
            producer_version=__version__,
        )
        return Model(proto, self.large)

    def _name_blobs(self) -> list[Operation]:
        """Name values after the blobs; returns what gives a value its second name."""
        drawn = self.drawn
        more: list[Operation] = []
        for i, (blob, value) in enumerate(drawn.given.items()):
            is_picture = drawn.recipe is not None and i == 0
            self._give(value, PICTURE if is_picture else drawn.selection.name(blob))
        made = {
            id(value) for operation in drawn.graph.top.operations for value in operation.outputs
        }
        outputs = drawn.selection.outputs
        for blob in [*outputs, *(b for b in drawn.values if b not in outputs)]:
            value, name = drawn.values[blob], drawn.selection.name(blob)
            is_new = id(value) in made and id(value) not in self._names
            if blob in outputs and blob in drawn.given:
                # The layers that ran in place on it wrote over what was given.
                name += OVERWRITTEN
            if is_new and name not in self._taken:
                self._give(value, name)
            elif blob in outputs:
                named = Value()
                self._give(named, name)
                drawn.values[blob] = named
                more.append(Operation("Identity", [value], [named], {}, ""))
        return more

    def _give(self, value: Value, name: str) -> None:
        self._taken.add(name)
        self._names[id(value)] = name

    def _name(self, value: Value | None, hint: str = "value") -> str:
        if value is None:
            return ""
        if id(value) not in self._names:
            wanted = name = value.name or hint
            while name in self._taken:
                self._counts[wanted] = self._counts.get(wanted, 0) + 1
                name = f"{wanted}_{self._counts[wanted]}"
            self._give(value, name)
        return self._names[id(value)]

    def _node(self, operation: Operation) -> Any:
        hint = f"{operation.layer}/{operation.kind}" if operation.layer else operation.kind
        attributes = dict(operation.attributes)
        body = attributes.get("body")
        if isinstance(body, Body):
            attributes["body"] = self._body(body, hint)
        inputs = [self._name(value, f"{hint}/constant") for value in operation.inputs]
        outputs = [self._name(value, hint) for value in operation.outputs]
        return self.helper.make_node(operation.kind, inputs, outputs, name=outputs[0], **attributes)

    def _body(self, body: Body, hint: str) -> Any:
        def info(value: Value) -> Any:
            name = self._name(value, f"{hint}/value")
            kind = self.package.TensorProto.FLOAT
            return self.helper.make_tensor_value_info(name, kind, [None] * body.axes)

        inputs = [info(value) for value in body.inputs]
        nodes = [self._node(operation) for operation in body.block.operations]
        return self.helper.make_graph(nodes, hint, inputs, [info(v) for v in body.outputs])

    def _tensor(self, value: Value) -> Any:
        assert value.array is not None
        name = self._name(value)
        if value.array.nbytes < 1024:
            return self.package.numpy_helper.from_array(value.array, name)
        self.large[name] = value.array
        kind = self.helper.np_dtype_to_tensor_dtype(value.array.dtype)
        return self.package.TensorProto(name=name, data_type=kind, dims=value.array.shape)

    def _info(self, blob: int, given: bool) -> Any:
        shape = self.drawn.shapes[blob]
        value = self.drawn.given[blob] if given else self.drawn.values[blob]
        name = self._name(value)
        pairs = zip(shape, self.wider[blob], strict=True)
        dims = [BATCH if n + 1 == m else n if n == m else None for n, m in pairs]
        if not given and self._depends_on_values(blob):
            dims = [None] * len(shape)
        return self.helper.make_tensor_value_info(name, self.package.TensorProto.FLOAT, dims)

    def _depends_on_values(self, blob: int) -> bool:
        """Whether an output's shape depends on what is given, not on its shape alone."""
        reached: set[int] = set()
        for step in self.drawn.selection.steps:
            # Of layers whose tops' shapes depend on values, and of all behind them.
            if not step.layer.is_pure or not reached.isdisjoint(step.node.bottoms):
                reached.update(step.node.tops)
        return blob in reached


def _all(operations: Sequence[Operation]) -> Iterator[Operation]:
    """Operations, and those of bodies in them."""
    for operation in operations:
        yield operation
        body = operation.attributes.get("body")
        if isinstance(body, Body):
            yield from _all(body.block.operations)
