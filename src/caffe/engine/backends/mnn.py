"""Running a plan's operations by MNN, where that package is installed.

MNN is given the layers as a file of its own format, which it reads once; factors and summands by
channel, and activations, are folded into the convolutions before them.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CaffeError, require
from ...layers.layer import Activation, Layer
from ...memory.blob import Shape
from ...pytorch import torch
from ..plan.operation import Operation, Part
from .libraries import CleanErrors, FromArrays, LeftBehind, Library, are_finite, label, refusal
from .mnn_layers import activated, mnn
from .mnn_model import FLOAT, NC4HW4, NCHW, Operator, Table, Value, numbers, write

if TYPE_CHECKING:
    from torch import Tensor

NOISE = (b"The device supports:", b"MNN use high precision")
"""How the lines begin that MNN writes to the program's output."""

_left_behind = LeftBehind("mnn", "_mnncengine")


WINOGRAD, FEWER = 3, 1
"""The hint about tiles of Winograd's algorithm, and its value that leaves out the largest."""


class MNN(Library):
    """The backend that has MNN run operations, in float32 alone; see `Library`.

    Parameters
    ----------
    precision : torch.dtype
        What is computed in.
    is_gentle : bool
        Whether Winograd's algorithm has no tiles of 6 x 6 results for 3 x 3 kernels.
    """

    name = "MNN"
    # The second writes its files.
    packages = ("MNN", "flatbuffers")
    tolerance = 1e-4

    def __init__(self, precision: torch.dtype, is_gentle: bool = False) -> None:
        super().__init__(precision)
        self._is_gentle = is_gentle
        if is_gentle:
            self.name = "MNN with small tiles"
        else:
            self.gentler = MNN(precision, is_gentle=True)

    def _refusal(self, part: Part) -> str | None:
        if not all(2 <= len(shape) <= 4 for shape in part.read_shapes):
            return "a bottom that has not two to four axes"
        if part.layer.is_affine and len(part.read_shapes[0]) != 4:
            return "a bottom that has not four axes"
        return refusal(part, mnn)

    def _compiled(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> CompiledSession:
        return CompiledSession(operations, inputs, outputs, self._is_gentle)


@contextmanager
def _without_noise() -> Iterator[None]:
    """Keep from the program's output what MNN writes there; what others write meanwhile comes."""
    try:
        kept = os.dup(1)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as place:
        sys.stdout.flush()
        os.dup2(place.fileno(), 1)
        try:
            yield
        finally:
            if os.name == "posix":
                ctypes.CDLL(None).fflush(None)
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            place.seek(0)
            for line in place:
                if not line.startswith(NOISE):
                    os.write(1, line)


class CompiledSession(FromArrays):
    """Operations made ready by MNN, for inputs of fixed shapes.

    Parameters
    ----------
    operations : sequence of Operation
        Which; the backend takes them all.
    inputs : mapping of int to tuple of int
        The memories that they start from, with the blobs' shapes.
    outputs : list of int
        The memories whose final values are wanted.
    is_gentle : bool
        See `MNN`.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    CaffeError
        MNN gives other shapes than Caffe.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        inputs: Mapping[int, Shape],
        outputs: list[int],
        is_gentle: bool = False,
    ) -> None:
        graph = _Graph(operations, inputs)
        # Beside MNN's own inputs, whose memory it uses for other values.
        super().__init__(inputs, outputs, graph.has_odd_params)
        self._label = label(operations)
        wanted = [graph.output(graph.values[key], i) for i, key in enumerate(self.outputs)]
        with tempfile.TemporaryDirectory(prefix="recaffe-") as folder, _without_noise():
            library: Any = require("MNN", "mnn", "the engine of that name")
            _left_behind.add(self)
            model, weights = Path(folder, "net.mnn"), Path(folder, "weights")
            write(graph.operators, wanted, model, weights)
            # It owns the session, and must live as long.
            self._interpreter = library.Interpreter(str(model))
            self._interpreter.setExternalFile(str(weights))
            if is_gentle:
                self._interpreter.setSessionHint(WINOGRAD, FEWER)
            self._session = self._interpreter.createSession(
                {"backend": "CPU", "numThread": torch.get_num_threads(), "precision": "high"}
            )
        given = self._interpreter.getSessionInputAll(self._session)
        made = self._interpreter.getSessionOutputAll(self._session)
        self._tensors = [given[graph.inputs[key].operator.name] for key in inputs]
        self._results = [made[value.operator.name] for value in wanted]
        for value, tensor in zip(wanted, self._results, strict=True):
            shape = tuple(tensor.getShape())
            if shape != value.shape:
                raise CaffeError(f"MNN makes {shape} of what is {value.shape} in Caffe")

    def _computed(self) -> dict[int, Tensor]:
        with CleanErrors(self._label, MNN.name):
            for array, tensor in zip(self._arrays.values(), self._tensors, strict=True):
                np.copyto(tensor.getNumpyData(), array)
            code = self._interpreter.runSession(self._session)
            if code:
                raise CaffeError(f"MNN's session ended with error {code}")
        return {
            key: torch.from_numpy(tensor.getNumpyData())
            for key, tensor in zip(self.outputs, self._results, strict=True)
        }


class _Graph:
    """MNN's operators of some operations, grown one layer after the other."""

    def __init__(self, operations: Sequence[Operation], inputs: Mapping[int, Shape]) -> None:
        self.operators: list[Operator] = []
        self.has_odd_params = False
        self.inputs = {
            key: self._input(shape, f"input {i}") for i, (key, shape) in enumerate(inputs.items())
        }
        self.values = {key: self._packed(x) for key, x in self.inputs.items()}
        for operation in operations:
            with CleanErrors(operation.label, MNN.name):
                for number, part in enumerate(operation.parts):
                    self._add(part, follows=number > 0)

    def _input(self, shape: Shape, name: str) -> Value:
        main = Table("Input", dims=numbers(shape), dtype=FLOAT, dformat=NCHW)
        value = self.add("Input", [], shape, main)
        value.operator.name = name
        return value

    def _packed(self, x: Value) -> Value:
        """Return pictures by four channels: MNN's first convolution would not see to it itself.

        It computes from Caffe's order too, but takes an eighth longer and more memory for VGG-16.
        """
        if len(x.shape) != 4:
            return x
        main = Table("TensorConvertInfo", source=NCHW, dest=NC4HW4)
        return self.add("ConvertTensor", [x], x.shape, main)

    def output(self, x: Value, number: int) -> Value:
        """Add a value in Caffe's own order, to be asked for by name."""
        main = Table("TensorConvertInfo", source=NC4HW4, dest=NCHW)
        value = self.add("ConvertTensor", [x], x.shape, main)
        value.operator.name = f"output {number}"
        return value

    def _add(self, part: Part, follows: bool) -> None:
        xs = [
            self.shaped(self.values[key], shape)
            for key, shape in zip(part.reads, part.read_shapes, strict=True)
        ]
        tops = self._tops(part.layer, xs, follows and part.reads == part.writes)
        for key, top, shape in zip(part.writes, tops, part.shapes, strict=True):
            if top.shape != shape:
                raise CaffeError(f"MNN makes {top.shape} of what is {shape} in Caffe")
            self.values[key] = top

    def _tops(self, layer: Layer, xs: list[Value], in_place: bool) -> list[Value]:
        if layer.passes_on:
            return xs
        operator = xs[0].operator
        # What follows in place is read by nobody before it.
        can_fold = in_place and bool(operator.convolution) and not _is_activated(operator)
        if layer.is_affine:
            return [self._affine(layer, xs[0], can_fold)]
        if layer.activation is not None and can_fold:
            return [self._activate(layer.activation, xs[0])]
        made = mnn.get(layer, *(x.shape for x in xs))(layer, self, *xs)
        return made if isinstance(made, list) else [made]

    def _affine(self, layer: Layer, x: Value, can_fold: bool) -> Value:
        params = [blob.data_tensor().double() for blob in layer.blobs]
        factor, summand = (
            None if one is None else one.numpy().reshape(-1) for one in layer.affine(*params)
        )
        channels = x.shape[1]
        self.note(*(one for one in (factor, summand) if one is not None))
        factor = np.ones(channels) if factor is None else np.broadcast_to(factor, channels)
        summand = np.zeros(channels) if summand is None else np.broadcast_to(summand, channels)
        if can_fold:
            weight, bias = x.operator.weights
            weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
            x.operator.weights = [weight, bias * factor + summand]
            return x
        # By channels of one place each: MNN's own Scale was found wrong for 6 channels.
        weight = factor.reshape(-1, 1, 1, 1)
        return self.convolution(x, x.shape, [weight, summand], group=channels)

    def _activate(self, activation: Activation, x: Value) -> Value:
        """Fold an activation into the convolution before it, where MNN has it."""
        if activation == Activation(slope=0.0):
            x.operator.convolution["relu"] = True
            return x
        if activation in (Activation(0.0, most=6.0), Activation(1.0, 0.0, 6.0)):
            x.operator.convolution["relu6"] = True
            return x
        return activated(activation, self, x)

    def note(self, *arrays: NDArray[Any]) -> None:
        """Note whether parameters are finite numbers."""
        if not all(map(are_finite, arrays)):
            self.has_odd_params = True

    # What rules use, see `mnn_layers.Graph`.

    def add(self, kind: str, inputs: Sequence[Value], shape: Shape, main: Table | None) -> Value:
        operator = Operator(kind, list(inputs), main)
        operator.outputs = [Value(tuple(shape), operator)]
        self.operators.append(operator)
        return operator.outputs[0]

    def parted(self, kind: str, x: Value, shapes: Sequence[Shape], main: Table) -> list[Value]:
        operator = Operator(kind, [x], main)
        operator.outputs = [Value(tuple(shape), operator) for shape in shapes]
        self.operators.append(operator)
        return operator.outputs

    def convolution(
        self, x: Value, shape: Shape, weights: Sequence[NDArray[Any]], **how: Any
    ) -> Value:
        weight, *rest = weights
        group = how.get("group", 1)
        is_depthwise = group == len(weight) == x.shape[1] > 1
        y = self.add("ConvolutionDepthwise" if is_depthwise else "Convolution", [x], shape, None)
        y.operator.weights = [weight, rest[0] if rest else np.zeros(len(weight), np.float32)]
        y.operator.convolution = {"outputCount": len(weight), "inputCount": x.shape[1], **how}
        return y

    def shaped(self, x: Value, shape: Shape) -> Value:
        if x.shape == tuple(shape):
            return x
        return self.add("Reshape", [x], shape, Table("Reshape", dims=numbers(shape), dimType=NCHW))

    def parameters(self, layer: Layer) -> list[NDArray[Any]]:
        arrays = [blob.data_tensor().numpy() for blob in layer.blobs]
        self.note(*arrays)
        return arrays


def _is_activated(operator: Operator) -> bool:
    return any(operator.convolution.get(name) for name in ("relu", "relu6"))
