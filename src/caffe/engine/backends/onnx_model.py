"""A model in ONNX's form while it is made: operators, and the numbers that they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import require
from ...memory.blob import Shape

OPSET = 17
"""The version of the operators; ONNX Runtime has read it since 2022."""

IR_VERSION = 8
"""The version of the file format that goes with it."""

SMALL = 2**10
"""Arrays of more bytes are handed over beside the model, which may have 2 GiB at most."""


@dataclass(eq=False)
class Value:
    """A value of the model.

    Attributes
    ----------
    name : str
        What it is called in the model.
    shape : tuple of int or None
        None where the layer will say.
    array : ndarray or None
        Its numbers, where these are always the same.
    node : onnx.NodeProto or None
        What makes it.
    """

    name: str
    shape: Shape | None = None
    array: NDArray[Any] | None = None
    node: Any = None

    def output(self, number: int) -> Value:
        """Return the value itself, as OpenVINO's operators are asked."""
        return self


class Model:
    """A model that grows.

    Attributes
    ----------
    beside : dict of str to ndarray
        The numbers that stand beside it, by name; the library makes of them what it likes.
    left : dict of str to ndarray
        Those that are inputs of the model, by name: they are read at each run where they lie.

    Raises
    ------
    MissingExtraError
        The package onnx is not installed.
    """

    def __init__(self) -> None:
        self._onnx: Any = require("onnx", "onnxruntime", "the engine of that name")
        self._nodes: list[Any] = []
        self._inputs: list[Value] = []
        self._values: list[Value] = []
        self._constants: list[Any] = []
        self._read: set[str] = set()
        self.beside: dict[str, NDArray[Any]] = {}
        self.left: dict[str, NDArray[Any]] = {}
        self._count = 0

    def _new(self, shape: Shape | None = None) -> Value:
        self._count += 1
        return Value(f"v{self._count}", shape)

    def input(self, shape: Shape) -> Value:
        """Add an input."""
        self._inputs.append(self._new(shape))
        return self._inputs[-1]

    def constant(self, array: Any) -> Value:
        """Return numbers as a value: whole ones as int64, others as float32."""
        array = np.asarray(array)
        kind = np.int64 if array.dtype.kind in "iu" else np.float32
        value = self._new(array.shape)
        value.array = np.asarray(array, kind, order="C")
        return value

    def add(
        self, kind: str, inputs: Sequence[Value], shapes: Sequence[Shape | None], **how: Any
    ) -> list[Value]:
        """Add an operator whose outputs have these shapes."""
        made = [self._new(shape) for shape in shapes]
        names = [self.read(x) for x in inputs]
        node = self._onnx.helper.make_node(kind, names, [value.name for value in made], **how)
        for value in made:
            value.node = node
        self._nodes.append(node)
        self._values += made
        return made

    def read(self, x: Value) -> str:
        """Return the name of a value that an operator reads."""
        if x.array is not None and x.name not in self._read:
            self._read.add(x.name)
            self._constants.append(self._written(x.name, x.array))
        return x.name

    def leave(self, x: Value) -> None:
        """Let numbers that nothing has read yet be read where they lie, if they are many."""
        if x.array is not None and x.array.nbytes > SMALL and x.name not in self._read:
            self._read.add(x.name)
            self._inputs.append(x)
            self.left[x.name] = x.array

    def _written(self, name: str, array: NDArray[Any]) -> Any:
        if array.nbytes <= SMALL:
            return self._onnx.numpy_helper.from_array(array, name)
        self.beside[name] = array
        tensor = self._onnx.TensorProto(
            name=name,
            data_type=self._onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=array.shape,
            data_location=self._onnx.TensorProto.EXTERNAL,
        )
        for key, value in (("location", name), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        return tensor

    def written(self, outputs: Sequence[Value]) -> bytes:
        """Return the model that gives these values.

        Parameters
        ----------
        outputs : sequence of Value
            Made by operators, each once.
        """
        helper = self._onnx.helper

        def described(values: Sequence[Value]) -> list[Any]:
            return [
                helper.make_tensor_value_info(value.name, self._onnx.TensorProto.FLOAT, value.shape)
                for value in values
            ]

        names = {value.name for value in outputs}
        between = [v for v in self._values if v.shape is not None and v.name not in names]
        graph = helper.make_graph(
            self._nodes,
            "recaffe",
            described(self._inputs),
            described(outputs),
            self._constants,
            value_info=described(between),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return bytes(model.SerializeToString())
