"""Running a plan's operations by OpenVINO, where that package is installed.

OpenVINO is given the layers, not PyTorch's packed form of them, and joins and packs in its own way.
What it makes of a layer stands beside that layer, see `caffe.layers.translation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import require
from ...layers.layer import Layer
from ...layers.translation import Value, openvino
from ...memory.blob import Shape
from ...pytorch import torch
from ..plan.operation import Operation, Part
from .libraries import CleanErrors, FromArrays, LeftBehind, Library, label, name_of, refusal
from .translated import Array, TranslatedGraph

if TYPE_CHECKING:
    from torch import Tensor

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

_left_behind = LeftBehind("openvino", "openvino")

TOLERANCE = {"float32": 1e-2, "bfloat16": 0.1, "float16": 0.02}
"""By how much of the largest value results may differ, by precision."""


class OpenVINO(Library):
    """The backend that has OpenVINO compile operations; see `Library`."""

    name = "OpenVINO"
    packages = ("openvino",)

    def __init__(self, precision: torch.dtype) -> None:
        super().__init__(precision)
        self.tolerance = TOLERANCE[name_of(precision)]

    @property
    def precisions(self) -> tuple[torch.dtype, ...]:
        """What it can compute in here."""
        return torch.float32, torch.bfloat16, torch.float16

    def _refusal(self, part: Part) -> str | None:
        return refusal(part, openvino)

    def _compiled(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> CompiledModel:
        return CompiledModel(operations, inputs, outputs, self._precision)


class CompiledModel(FromArrays):
    """Operations made ready by OpenVINO, for inputs of fixed shapes.

    Parameters
    ----------
    operations : sequence of Operation
        Which; the backend takes them all.
    inputs : mapping of int to tuple of int
        The memories that they start from, with the blobs' shapes.
    outputs : list of int
        The memories whose final values are wanted.
    precision : torch.dtype
        What is computed in.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        inputs: Mapping[int, Shape],
        outputs: list[int],
        precision: torch.dtype,
    ) -> None:
        ov: Any = require("openvino", "openvino", "the engine of that name")
        _left_behind.add(self)
        graph = _Graph(operations, inputs)
        # OpenVINO's layers pass over what is not a number in another way than Caffe's.
        super().__init__(inputs, outputs, graph.has_odd_params)
        self._label = label(operations)
        model = ov.Model(
            [graph.values[key] for key in self.outputs],
            [graph.parameters[key] for key in inputs],
        )
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": PRECISIONS[name_of(precision)],
        }
        self._request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
        # Inputs are written straight into what OpenVINO reads.
        for i, array in enumerate(self._arrays.values()):
            self._request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))
        self._results = {
            key: torch.from_numpy(self._request.get_output_tensor(i).data)
            for i, key in enumerate(self.outputs)
        }

    def _computed(self) -> dict[int, Tensor]:
        with CleanErrors(self._label, OpenVINO.name):
            self._request.start_async()
            self._request.wait()
        return self._results


class _Graph(TranslatedGraph):
    """OpenVINO's graph of some operations."""

    library = OpenVINO.name

    def __init__(self, operations: Sequence[Operation], inputs: Mapping[int, Shape]) -> None:
        from openvino import opset13

        super().__init__()
        self.ops: Any = opset13
        self.parameters = {
            key: self.ops.parameter(list(shape), np.float32) for key, shape in inputs.items()
        }
        self.values = {key: node.output(0) for key, node in self.parameters.items()}
        self.grow(operations)

    def settled(self, top: Value, shape: Shape) -> Shape:
        return self.shape(top)

    def tops_of(self, made: Any) -> list[Value]:
        return list(made.outputs()) if hasattr(made, "outputs") else [made]

    def scaled(self, x: Value, factor: Array | None, summand: Array | None) -> Value:
        across = (1, -1, *[1] * (len(self.shape(x)) - 2))
        if factor is not None:
            x = self.ops.multiply(x, self.constant(factor.reshape(across)))
        if summand is not None:
            x = self.ops.add(x, self.constant(summand.reshape(across)))
        return x if not hasattr(x, "outputs") else x.output(0)

    # What translations use, see `caffe.layers.translation.Graph`.

    def shape(self, x: Value) -> Shape:
        return tuple(x.output(0).get_shape() if hasattr(x, "outputs") else x.get_shape())

    def constant(self, values: Any) -> Value:
        self.note(np.asarray(values))
        return self.ops.constant(np.ascontiguousarray(values, dtype=np.float32)).output(0)

    def integers(self, values: Iterable[int]) -> Value:
        return self.ops.constant(np.array(list(values), dtype=np.int64)).output(0)

    def parameter(self, layer: Layer, index: int, shape: Sequence[int] | None = None) -> Value:
        """A parameter as a constant that lies where the parameter lies."""
        import openvino as ov

        values = layer.blobs[index].data_tensor().numpy()
        self.note(values)
        values = values if shape is None else values.reshape(shape)
        return ov.op.Constant(values, shared_memory=True).output(0)

    def shaped(self, x: Value, shape: Sequence[int]) -> Value:
        if self.shape(x) == tuple(shape):
            return x
        return self.ops.reshape(x, self.integers(shape), False).output(0)

    def biased(self, y: Value, layer: Layer, axes: int) -> Value:
        if len(layer.blobs) < 2:
            return y
        return self.ops.add(y, self.parameter(layer, 1, (1, -1, *[1] * axes))).output(0)
