"""MNN's files of nets, written: operators in one, their weights in another beside it.

The first is FlatBuffers' (the tables are those of MNN's `schema/default`, as far as they are used),
so the numbers of fields and kinds are the format's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import require
from ...memory.blob import Shape

FIELDS = {
    "Net": "bizCode extraTensorDescribe extraInfo oplists outputName preferForwardType sourceType "
    "tensorName tensorNumber usage subgraphs mnn_uuid",
    "Op": "inputIndexes main_type main name outputIndexes type defaultDimentionFormat externalPath",
    "Axis": "axis",
    "Convolution2D": "common weight bias quanParameter symmetricQuan sparseParameter external",
    "Convolution2DCommon": "padX padY kernelX kernelY strideX strideY dilateX dilateY padMode "
    "group outputCount inputCount relu relu6 pads outPads hasOutputShape",
    "ELU": "alpha",
    "Eltwise": "type coeff",
    "Input": "dims dtype dformat",
    "LRN": "regionType localSize alpha beta bias",
    "Permute": "dims",
    "Pool": "padX padY isGlobal kernelX kernelY strideX strideY type padType dataType ceilModel "
    "pads countType",
    "Relu": "slope",
    "Relu6": "minValue maxValue",
    "Reshape": "dims dimType",
    "Slice": "axis slicePoints sourceType",
    "TensorConvertInfo": "source dest",
}
"""The names of the tables' fields, in order."""

KINDS = {
    "Concat": 10, "Convolution": 12, "ConvolutionDepthwise": 13, "Eltwise": 22, "ELU": 23,
    "Input": 34, "LRN": 37, "Permute": 46, "Pooling": 47, "ReLU": 69, "ReLU6": 70,
    "Reshape": 73, "Sigmoid": 81, "Slice": 83, "Softmax": 85,
    "ConvertTensor": 129,
}  # fmt: skip
"""The numbers of operators."""

MEMBERS = {
    "Axis": 4, "Convolution2D": 9, "Eltwise": 14, "Input": 21, "LRN": 23, "Permute": 29, "Pool": 31,
    "Relu": 51, "Relu6": 52, "Reshape": 55, "Slice": 61,
    "TensorConvertInfo": 66, "ELU": 81,
}  # fmt: skip
"""The numbers of the tables that may stand as an operator's parameters."""

FLOAT = 1
"""Their number for float32."""


class Byte(int):
    """A number that takes one byte in the file."""


NCHW, NC4HW4 = Byte(0), Byte(2)
"""The order in which numbers lie: Caffe's, and by four channels."""


class Table:
    """One table of the file.

    Parameters
    ----------
    name : str
        Which; see `FIELDS`.
    **values : object
        The fields' values; those that are left out have their defaults.
    """

    def __init__(self, name: str, /, **values: Any) -> None:
        self.kind = name
        self._values = values

    def write(self, builder: Any) -> int:
        """Write the table, and what it refers to before it; returns its place."""
        names = FIELDS[self.kind].split()
        ready = [(names.index(name), *_ready(builder, v)) for name, v in self._values.items()]
        builder.StartObject(len(names))
        for slot, put, value in ready:
            put(value)
            builder.Slot(slot)
        return int(builder.EndObject())


def _ready(builder: Any, value: Any) -> tuple[Any, Any]:
    """How to put a value into a table, and what is put: itself, or its place."""
    if isinstance(value, bool):
        return builder.PrependBool, value
    if isinstance(value, Byte):
        return builder.PrependInt8, int(value)
    if isinstance(value, int):
        return builder.PrependInt32, value
    if isinstance(value, float):
        return builder.PrependFloat32, value
    if isinstance(value, Table):
        place = value.write(builder)
    elif isinstance(value, str):
        place = builder.CreateString(value)
    elif isinstance(value, np.ndarray):
        place = builder.CreateNumpyVector(value)
    else:
        places = [_ready(builder, one)[1] for one in value]
        builder.StartVector(4, len(places), 4)
        for one in reversed(places):
            builder.PrependUOffsetTRelative(one)
        place = builder.EndVector()
    return builder.PrependUOffsetTRelative, place


def numbers(values: Sequence[int]) -> NDArray[np.int32]:
    """Return whole numbers as a table holds them."""
    return np.array(values, np.int32)


@dataclass(eq=False)
class Value:
    """What an operator gives.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    operator : Operator
        The one.
    """

    shape: Shape
    operator: Operator


@dataclass(eq=False)
class Operator:
    """One operator of a net.

    Attributes
    ----------
    kind : str
        See `KINDS`.
    inputs : list of Value
        What it reads.
    main : Table or None
        Its parameters; None for a convolution, and for what has none.
    outputs : list of Value
        What it gives.
    name : str
        What it is asked for by; may be empty.
    convolution : dict of str to object
        A convolution's parameters.
    weights : list of array
        A convolution's weights and bias.
    """

    kind: str
    inputs: list[Value]
    main: Table | None = None
    outputs: list[Value] = field(default_factory=list)
    name: str = ""
    convolution: dict[str, Any] = field(default_factory=dict)
    weights: list[NDArray[Any]] = field(default_factory=list)


def write(
    operators: Sequence[Operator], outputs: Sequence[Value], model: Path, weights: Path
) -> None:
    """Write a net.

    Parameters
    ----------
    operators : sequence of Operator
        In running order.
    outputs : sequence of Value
        What is asked for.
    model, weights : Path
        The two files.

    Raises
    ------
    MissingExtraError
        FlatBuffers is not installed.
    OSError
        They cannot be written.
    """
    flatbuffers: Any = require("flatbuffers", "mnn", "MNN's files")
    values = [value for operator in operators for value in operator.outputs]
    places = {id(value): place for place, value in enumerate(values)}
    names = [
        operator.name or f"value {i} {k}"
        for i, operator in enumerate(operators)
        for k in range(len(operator.outputs))
    ]
    with open(weights, "wb") as stream:
        tables = [_table(operator, places, names, stream) for operator in operators]
    net = Table(
        "Net",
        oplists=tables,
        outputName=[names[places[id(v)]] for v in outputs],
        sourceType=Byte(0),
        tensorName=names,
        tensorNumber=len(names),
    )
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(net.write(builder))
    model.write_bytes(builder.Output())


def _table(
    operator: Operator, places: Mapping[int, int], names: Sequence[str], weights: BinaryIO
) -> Table:
    """An operator's table, by its values' places and their names; its weights are written."""
    main = _with_weights(operator, weights) if operator.convolution else operator.main
    given: dict[str, Any] = {}
    if operator.inputs:
        given["inputIndexes"] = numbers([places[id(v)] for v in operator.inputs])
    if main is not None:
        given |= {"main_type": Byte(MEMBERS[main.kind]), "main": main}
    made = numbers([places[id(v)] for v in operator.outputs])
    return Table(
        "Op",
        **given,
        name=names[made[0]],
        outputIndexes=made,
        type=KINDS[operator.kind],
        defaultDimentionFormat=NCHW,
    )


def _with_weights(operator: Operator, weights: BinaryIO) -> Table:
    """A convolution's parameters, after its weights have been written."""
    start, sizes = weights.tell(), []
    for values in operator.weights:
        array = np.ascontiguousarray(values, np.float32)
        weights.write(array.data)
        sizes.append(array.nbytes)
    common = Table("Convolution2DCommon", **operator.convolution)
    return Table("Convolution2D", common=common, external=np.array([start, *sizes], np.int64))
