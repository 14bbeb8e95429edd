"""What an ONNX model is made of: the table that Caffe's nets have, of its own nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import as_caffe_error, require
from ..guarded import guarded
from ..layers.description import Family
from ..memory.blob import Shape
from ..paths import PathLike
from ..structure.summary import BYTES, Row, Summary
from . import onnx_source
from .onnx_source import Source

FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "DeformConv"), "convolution"),
    **dict.fromkeys(("Gemm", "MatMul"), "product"),
}

IN_GRAPH = ("Constant", "Identity")
"""Nodes that compute nothing."""


@guarded
def summarize_onnx(path: PathLike, shapes: Mapping[str, Sequence[int]] | None = None) -> Summary:
    """Sum up an ONNX model, node by node; no node has to have a form in Caffe.

    Parameters
    ----------
    path : path
        The .onnx file; what stands beside it is not needed.
    shapes : dict of str to sequence of int, optional
        The inputs' shapes where others than the model's are meant, or where it leaves them open.

    Returns
    -------
    Summary
        Shapes are as onnx's own inference finds them; fields of view are not known.

    Raises
    ------
    ParseError
        It is no ONNX model.
    NetError
        A shape is given for no input, or does not fit it.
    MissingExtraError
        The extra `onnx` is not installed.
    """
    source = onnx_source.read(path)
    found = _Table(source, shapes or {})
    return found.summary()


class _Table:
    def __init__(self, source: Source, shapes: Mapping[str, Sequence[int]]) -> None:
        self.source = source
        self.known = {tensor.name: tuple(tensor.dims) for tensor in source.graph.initializer}
        self.shapes: dict[str, Shape | None] = {**_inferred(source, shapes), **self.known}
        self.counted: set[str] = set()

    def summary(self) -> Summary:
        inputs = [info.name for info in self.source.graph.input if info.name not in self.known]
        rows = [_input_row(name, self.shapes.get(name)) for name in inputs]
        rows += [self._row(node) for node in self.source.graph.node if node.op_type not in IN_GRAPH]
        first = self.shapes.get(inputs[0]) if inputs else None
        blobs = sum(math.prod(shape) for row in rows for shape in row.shapes if shape is not None)
        parameters = sum(row.parameters or 0 for row in rows)
        notes = (f"ONNX, version {self.source.opset} of the operators: its nodes, not layers",)
        return Summary(
            self.source.graph.name,
            "TEST",
            first[0] if first is not None and len(first) >= 4 else None,
            tuple(rows),
            BYTES * blobs,
            BYTES * parameters,
            notes,
        )

    def _row(self, node: Any) -> Row:
        given = [name for name in node.input if name]
        learned = [name for name in given if self.known.get(name, ()) and self._is_float(name)]
        own = [name for name in learned if name not in self.counted]
        self.counted.update(own)
        tops = [name for name in node.output if name]
        return Row(
            node.name or tops[0],
            node.op_type,
            FAMILIES.get(node.op_type, "plain"),
            tuple(name for name in given if name not in self.known),
            tuple(tops),
            tuple(self.shapes.get(top) for top in tops),
            (False,) * len(tops),
            tuple(self.known[name] for name in learned),
            sum(math.prod(self.known[name]) for name in own),
            0 if node.op_type != "BatchNormalization" else 2 * math.prod(self.known[given[-1]]),
            self._multiply_adds(node, given, learned),
            None,
        )

    def _is_float(self, name: str) -> bool:
        types = onnx_source.onnx_package().TensorProto
        kinds = (types.FLOAT, types.FLOAT16, types.DOUBLE, types.BFLOAT16)
        return any(t.name == name and t.data_type in kinds for t in self.source.graph.initializer)

    def _multiply_adds(self, node: Any, given: Sequence[str], learned: Sequence[str]) -> int | None:
        if not learned:
            return 0
        if node.op_type in ("Conv", "ConvTranspose"):
            places = self.shapes.get(node.output[0] if node.op_type == "Conv" else given[0])
            return None if places is None else _product(places, self.known.get(given[1], ())[1:])
        if node.op_type in ("Gemm", "MatMul"):
            places, before = self.shapes.get(node.output[0]), self.shapes.get(given[0])
            return None if places is None or before is None else _product(places, before[-1:])
        return 0


def _product(places: Shape, taps: Shape) -> int:
    return math.prod(places) * math.prod(taps)


def _input_row(name: str, shape: Shape | None) -> Row:
    return Row(name, "input", "source", (), (name,), (shape,), (False,), (), 0, 0, 0, None)


def _inferred(source: Source, shapes: Mapping[str, Sequence[int]]) -> dict[str, Shape | None]:
    """Every value's shape, None where an axis of it is open."""
    inference = require("onnx.shape_inference", "onnx", onnx_source.PURPOSE)
    proto = type(source.proto)()
    proto.CopyFrom(source.proto)
    if shapes:
        for name, dims in source.inputs(shapes).items():
            info = next(info for info in proto.graph.input if info.name == name)
            for dim, n in zip(info.type.tensor_type.shape.dim, dims, strict=True):
                dim.dim_value = n
        del proto.graph.value_info[:]
        for info in proto.graph.output:
            info.type.tensor_type.ClearField("shape")
    try:
        made = inference.infer_shapes(proto, data_prop=True)
    except Exception as error:
        raise as_caffe_error(error, f"{source.name}: its shapes cannot be found") from error
    infos = (*made.graph.input, *made.graph.value_info, *made.graph.output)
    return {info.name: _shape(info) for info in infos}


def _shape(info: Any) -> Shape | None:
    kind = info.type.tensor_type
    if not kind.HasField("shape"):
        return None
    dims = [int(dim.dim_value) if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    known = tuple(dim for dim in dims if dim is not None)
    return known if len(known) == len(dims) else None
