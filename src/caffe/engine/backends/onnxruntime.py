"""Running a plan's operations by ONNX Runtime, where that package is installed.

It is given the layers as a model of ONNX's operators, and joins and packs in its own way. The
layers' translations make the model, as they make OpenVINO's graph, see `onnx_operators`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import require
from ...layers.layer import Layer
from ...layers.translation import openvino
from ...memory.blob import Shape
from ...pytorch import torch
from ..plan.operation import Operation, Part
from .libraries import CleanErrors, FromArrays, LeftBehind, Library, label, refusal
from .onnx_model import Model, Value
from .onnx_operators import OnnxOperators
from .translated import Array, TranslatedGraph

if TYPE_CHECKING:
    from torch import Tensor

SILENCE = "ORT_DISABLE_TELEMETRY"
"""What keeps it from reporting to its makers; from version 1.29 on it does, on every system."""

FATAL = 4
"""Its number for what it is to write: errors are raised, and need not be written as well."""

SETTINGS = {
    # As long as PyTorch's threads, see `caffe.threads`; versions before this setting wait longer,
    # but not between the runs.
    "session.intra_op.spin_duration_us": "20",
    "session.force_spinning_stop": "1",
    # Weights that it has packed need not be kept as they came.
    "session.use_device_allocator_for_initializers": "1",
    # What the model says of shapes is Caffe's word: where it makes others, it must not run.
    "session.strict_shape_type_inference": "1",
}

OURS = __name__.partition(".")[0]
"""The package whose translations keep to `OnnxOperators`."""

_left_behind = LeftBehind("onnxruntime", "onnxruntime")


class OnnxRuntime(Library):
    """The backend that has ONNX Runtime run operations, in float32 alone; see `Library`."""

    name = "ONNX Runtime"
    # The second writes its models.
    packages = ("onnxruntime", "onnx")
    tolerance = 1e-4

    def _refusal(self, part: Part) -> str | None:
        why = refusal(part, openvino)
        if why is not None:
            return why
        rule = openvino.find(part.layer, *part.read_shapes)
        if rule is None or rule.__module__.partition(".")[0] == OURS:
            return None
        return "somebody's own translation may need operators that only OpenVINO has"

    def _compiled(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> CompiledSession:
        return CompiledSession(operations, inputs, outputs)


def _library() -> ModuleType:
    """Load ONNX Runtime, which is to report nothing; whoever wants it to has said so himself."""
    os.environ.setdefault(SILENCE, "1")
    library = require("onnxruntime", "onnxruntime", "the engine of that name")
    if os.environ[SILENCE] == "1":
        library.disable_telemetry_events()
    return library


class CompiledSession(FromArrays):
    """Operations made ready by ONNX Runtime, for inputs of fixed shapes.

    Parameters
    ----------
    operations : sequence of Operation
        Which; the backend takes them all.
    inputs : mapping of int to tuple of int
        The memories that they start from, with the blobs' shapes.
    outputs : list of int
        The memories whose final values are wanted.

    Raises
    ------
    MissingExtraError
        The package is not installed, or onnx is not.
    """

    def __init__(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> None:
        library: Any = _library()
        graph = _Graph(operations, inputs)
        super().__init__(inputs, outputs, graph.has_odd_params)
        self._label = label(operations)
        wanted = graph.given(self.outputs)
        options = library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        # All of a run's memory as one block would be as quick, and lie beside what the first took.
        options.enable_mem_pattern = False
        for name, setting in SETTINGS.items():
            options.add_session_config_entry(name, setting)
        beside, left = graph.model.beside, graph.model.left
        self._weights = [library.OrtValue.ortvalue_from_numpy(array) for array in beside.values()]
        options.add_external_initializers(list(beside), self._weights)
        _left_behind.add(self)
        self._session = library.InferenceSession(
            graph.model.written(wanted), options, providers=["CPUExecutionProvider"]
        )
        # Inputs are written straight into what is read, results straight into what is handed out.
        results = [np.empty(value.shape or (), np.float32) for value in wanted]
        self._results = {
            key: torch.from_numpy(array) for key, array in zip(self.outputs, results, strict=True)
        }
        self._binding = self._session.io_binding()
        given = {graph.inputs[key].name: array for key, array in self._arrays.items()}
        for name, array in (given | left).items():
            bound = library.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_input(name, bound)
        for top, array in zip(wanted, results, strict=True):
            bound = library.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_output(top.name, bound)

    def _computed(self) -> dict[int, Tensor]:
        with CleanErrors(self._label, OnnxRuntime.name):
            self._session.run_with_iobinding(self._binding)
        return self._results


class _Graph(TranslatedGraph):
    """ONNX's graph of some operations."""

    library = OnnxRuntime.name

    def __init__(self, operations: Sequence[Operation], inputs: Mapping[int, Shape]) -> None:
        super().__init__()
        self.model = Model()
        self.ops = OnnxOperators(self.model)
        self.inputs = {key: self.model.input(shape) for key, shape in inputs.items()}
        self.values = dict(self.inputs)
        self.grow(operations)

    def given(self, keys: Iterable[int]) -> list[Value]:
        """Return memories' values, each made by an operator and by itself."""
        found: list[Value] = []
        for key in keys:
            value: Value = self.values[key]
            if value.node is None or value in found:
                (value,) = self.model.add("Identity", [value], [value.shape])
            found.append(value)
        return found

    def settled(self, top: Value, shape: Shape) -> Shape:
        """Believe Caffe where the operators have not said; ONNX Runtime checks it."""
        if top.shape is None:
            top.shape = shape
        return top.shape

    def tops_of(self, made: Any) -> list[Value]:
        return made if isinstance(made, list) else [made]

    def scaled(self, x: Value, factor: Array | None, summand: Array | None) -> Value:
        """As a BatchNormalization, which it joins with a convolution before it."""
        channels = x.shape[1] if x.shape else 0
        ones, zeros = np.ones(channels), np.zeros(channels)
        parts = (ones if factor is None else factor, zeros if summand is None else summand)
        inputs = [x, *map(self.constant, parts), self.constant(zeros), self.constant(ones)]
        return self.model.add("BatchNormalization", inputs, [x.shape], epsilon=0.0)[0]

    # What translations use, see `caffe.layers.translation.Graph`.

    def shape(self, x: Value) -> Shape:
        assert x.shape is not None
        return x.shape

    def constant(self, values: Any) -> Value:
        self.note(np.asarray(values))
        return self.model.constant(np.asarray(values, np.float32))

    def integers(self, values: Iterable[int]) -> Value:
        return self.model.constant(np.array(list(values), np.int64))

    def parameter(self, layer: Layer, index: int, shape: Sequence[int] | None = None) -> Value:
        values = layer.blobs[index].data_tensor().numpy()
        self.note(values)
        return self.model.constant(values if shape is None else values.reshape(shape))

    def shaped(self, x: Value, shape: Sequence[int]) -> Value:
        whole = np.empty(self.shape(x), bool).reshape(shape).shape if -1 in shape else tuple(shape)
        return x if x.shape == whole else self.ops.reshape(x, self.integers(whole))

    def biased(self, y: Value, layer: Layer, axes: int) -> Value:
        """The operators that have a bias take it along."""
        if len(layer.blobs) > 1:
            y.node.input.append(self.model.read(self.parameter(layer, 1, (-1,))))
        return y
