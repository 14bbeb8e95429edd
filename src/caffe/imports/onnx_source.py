"""ONNX models as they are read: the graph, its numbers when they are wanted, its inputs' shapes."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import CaffeError, NetError, ParseError, as_caffe_error, require, unreadable
from ..memory.blob import Shape
from ..paths import PathLike, path_text
from .caffe_graph import Array

OLDEST_OPSET = 9

PURPOSE = "reading ONNX models"

MOST_NODES = 1_000_000
"""As many as no net has."""

MOST_KNOWN = 1 << 28
"""How many numbers a node may make of known ones."""

GROWING = frozenset({"ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad", "Range", "Tile"})
"""Operators that make many numbers of few."""

NAMELESS = ("", "main_graph", "main", "torch_jit", "torch-jit-export")
"""What PyTorch calls every graph."""


def onnx_package() -> ModuleType:
    """Return the package onnx.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    return require("onnx", "onnx", PURPOSE)


@dataclass
class Source:
    """A model.

    Attributes
    ----------
    proto : onnx.ModelProto
        With local functions written out.
    folder : str
        Where files of numbers beside it lie.
    name : str
        What errors call it.
    opset : int
        The version of its operators.
    """

    proto: Any
    folder: str
    name: str
    opset: int

    @property
    def graph(self) -> Any:
        """The model's graph."""
        return self.proto.graph

    @property
    def title(self) -> str:
        """What the net is called: as the graph is, or as the file."""
        own = str(self.graph.name)
        return os.path.splitext(os.path.basename(self.name))[0] if own in NAMELESS else own

    def array(self, tensor: Any) -> Array:
        """Return a tensor's numbers.

        Raises
        ------
        ParseError
            They stand in a file that is not there, or are damaged.
        """
        package = onnx_package()
        if any(n < 0 for n in tensor.dims):
            raise ParseError(
                f"tensor '{tensor.name}' is damaged: its shape is {tuple(tensor.dims)}", self.name
            )
        try:
            array: Array = package.numpy_helper.to_array(tensor, self.folder)
        except Exception as error:
            place = {entry.key: entry.value for entry in tensor.external_data}.get("location")
            if place is not None:
                file = os.path.join(self.folder, place)
                raise ParseError(
                    f"the numbers of '{tensor.name}' should stand in {file}, which is not there "
                    "or not whole; keep that file beside the model",
                    self.name,
                ) from error
            raise ParseError(f"tensor '{tensor.name}' is damaged ({error})", self.name) from error
        if array.dtype.kind not in "biufS" and array.dtype.name in ("bfloat16", "float16"):
            array = array.astype(np.float32)
        if array.dtype == np.float16:
            array = array.astype(np.float32)
        return array

    def inputs(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, Shape]:
        """Return the inputs with their shapes, which are fixed.

        Parameters
        ----------
        shapes : dict of str to sequence of int
            Shapes that are to be taken instead of the model's own.

        Raises
        ------
        NetError
            A shape is open, or there is no such input.
        """
        known = {tensor.name for tensor in self.graph.initializer}
        infos = {info.name: info for info in self.graph.input if info.name not in known}
        for name in shapes:
            if name not in infos:
                raise NetError(
                    f"{self.name}: there is no input '{name}'; there are {', '.join(infos)}"
                )
        return {name: self._shape(info, shapes.get(name)) for name, info in infos.items()}

    def _shape(self, info: Any, given: Sequence[int] | None) -> Shape:
        kind = info.type.tensor_type
        package = onnx_package()
        types = package.TensorProto
        floats = (types.FLOAT, types.FLOAT16, types.DOUBLE, types.BFLOAT16)
        if kind.elem_type not in floats and not is_whole(info):
            names = {number: name for name, number in types.DataType.items()}
            name = names.get(kind.elem_type, "a kind that is unknown")
            form = info.type.WhichOneof("value") or "tensor_type"
            if form != "tensor_type":
                name = f"a {form.removesuffix('_type')}"
            raise NetError(
                f"{self.name}: input '{info.name}' is no tensor of numbers ({name}), as Caffe's "
                "blobs are; export the model for such an input"
            )
        if given is not None:
            if kind.HasField("shape") and len(kind.shape.dim) != len(given):
                raise NetError(
                    f"{self.name}: input '{info.name}' has {len(kind.shape.dim)} axes, but a shape "
                    f"of {len(given)} is given"
                )
            return tuple(int(n) for n in given)
        if not kind.HasField("shape"):
            raise NetError(f"{self.name}: input '{info.name}' has no shape; {_hint(info.name)}")
        dims = []
        for axis, dim in enumerate(kind.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value > 0:
                dims.append(int(dim.dim_value))
            elif axis == 0:
                dims.append(1)
            else:
                raise NetError(
                    f"{self.name}: axis {axis} ('{dim.dim_param or '?'}') of input '{info.name}' "
                    f"is open, and Caffe's shapes are fixed; {_hint(info.name)}"
                )
        return tuple(dims)


def is_whole(info: Any) -> bool:
    """Whether an input holds whole numbers, which name rows of tables."""
    types = onnx_package().TensorProto
    return info.type.tensor_type.elem_type in (types.INT32, types.INT64)


def _hint(name: str) -> str:
    return f"give one: --shape {name}=1,3,224,224 (shapes={{'{name}': ...}})"


def read(path: PathLike) -> Source:
    """Read an .onnx file; numbers beside it are read when they are wanted.

    Raises
    ------
    ParseError
        It is no ONNX model.
    """
    package = onnx_package()
    text = path_text(path)
    try:
        proto = package.load(text, load_external_data=False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise unreadable(f"cannot be read: {reason}", text, error) from error
    except Exception as error:
        raise ParseError("this is no ONNX model, or it is damaged", text) from error
    return of_proto(proto, text, os.path.dirname(os.path.abspath(text)))


def of_proto(proto: Any, name: str, folder: str = "") -> Source:
    """Return a model as a source.

    Raises
    ------
    ParseError
        It has no graph, or operators of a version that is too old.
    """
    graph = proto.graph
    if not graph.node and not graph.output:
        raise ParseError("this is no ONNX model, or an empty one", name)
    if graph.sparse_initializer:
        first = graph.sparse_initializer[0].values.name
        raise ParseError(
            f"the numbers of '{first}' are kept as a sparse tensor, which is not read; save the "
            "model with all its tensors dense",
            name,
        )
    for what, known in (("inputs", graph.input), ("tensors", graph.initializer)):
        count = Counter(entry.name for entry in known)
        twice = next((key for key, number in count.items() if number > 1), None)
        if twice is not None:
            raise ParseError(f"two {what} are called '{twice}'; the model is damaged", name)
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    opset = max(versions, default=1)
    if opset < OLDEST_OPSET:
        raise ParseError(
            f"its operators are of version {opset}, older than {OLDEST_OPSET}; bring it up by "
            "onnx.version_converter, or export it anew",
            name,
        )
    newest = int(onnx_package().defs.onnx_opset_version())
    if opset > newest:
        raise ParseError(
            f"its operators are of version {opset}, and the onnx that is installed knows them up "
            f"to {newest}: install a newer onnx, or export the model with an older version",
            name,
        )
    if proto.functions:
        _check_functions(proto, name)
        try:
            inliner = require("onnx.inliner", "onnx", PURPOSE)
            proto = inliner.inline_local_functions(proto)
        except Exception as error:
            raise as_caffe_error(error, f"{name}: its functions cannot be written out") from error
    return Source(proto, folder, name, opset)


def _check_functions(proto: Any, name: str) -> None:
    """Refuse functions that would become more nodes than any net has."""
    bodies = {(function.domain, function.name): function.node for function in proto.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Any, inside: tuple[tuple[str, str], ...] = ()) -> int:
        whole = 0
        for node in nodes:
            key = node.domain, node.op_type
            if key in inside:
                raise ParseError(f"the function '{node.op_type}' uses itself", name)
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], (*inside, key))
            whole += sizes.get(key, 1)
        return whole

    try:
        if size(proto.graph.node) <= MOST_NODES:
            return
    except RecursionError:
        pass
    raise ParseError(
        f"its functions are nested so deep that they stand for more than {MOST_NODES} nodes; "
        "export the model without them",
        name,
    )


def attributes_of(source: Source, node: Any) -> dict[str, Any]:
    """Return a node's attributes as plain values; tensors as arrays."""
    package = onnx_package()
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = package.helper.get_attribute_value(attribute)
        if attribute.type == package.AttributeProto.TENSOR:
            value = source.array(value)
        elif isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif attribute.type in (package.AttributeProto.INTS, package.AttributeProto.FLOATS):
            value = list(value)
        found[attribute.name] = value
    return found


def evaluated(source: Source, node: Any, arrays: Sequence[Array | None]) -> list[Array]:
    """Return what a node makes of known numbers, by onnx's own evaluator.

    Raises
    ------
    CaffeError
        It cannot be evaluated.
    """
    require("onnx.reference", "onnx", PURPOSE)
    from onnx.reference import ReferenceEvaluator

    feeds = {
        name: array
        for name, array in zip(node.input, arrays, strict=True)
        if name and array is not None
    }
    helper = onnx_package().helper
    kind = helper.np_dtype_to_tensor_dtype
    given = [helper.make_tensor_value_info(n, kind(a.dtype), a.shape) for n, a in feeds.items()]
    outputs = [name for name in node.output if name]
    # A node by itself is not evaluated as of its version.
    graph = helper.make_graph(
        [node], "known", given, [helper.make_tensor_value_info(name, 0, None) for name in outputs]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", source.opset)])
    if node.op_type in GROWING:
        _check_growth(model, feeds)
    try:
        made = dict(zip(outputs, ReferenceEvaluator(model).run(None, feeds), strict=True))
        return [np.asarray(made.get(name, 0)) for name in node.output]
    except Exception as error:
        raise CaffeError(
            f"its numbers are all known, but cannot be computed: {error}; "
            "onnx.checker.check_model says more of a damaged model"
        ) from error


def _check_growth(model: Any, feeds: Mapping[str, Array]) -> None:
    """Refuse more numbers than any net has before memory is taken for them."""
    package = onnx_package()
    inference = require("onnx.shape_inference", "onnx", PURPOSE)
    known = package.ModelProto()
    known.CopyFrom(model)
    tensors = (package.numpy_helper.from_array(array, name) for name, array in feeds.items())
    known.graph.initializer.extend(tensors)
    for info in known.graph.output:
        info.type.tensor_type.ClearField("shape")
    try:
        found = inference.infer_shapes(known, data_prop=True)
    except Exception:
        # Evaluating it will say what is wrong.
        return
    for info in found.graph.output:
        dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        if math.prod(dims) > MOST_KNOWN:
            raise NetError(
                f"it makes known numbers of shape {tuple(dims)}, more than any net has; export "
                "the model with smaller constants"
            )
