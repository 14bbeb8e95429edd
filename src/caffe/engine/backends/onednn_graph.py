"""Running a plan's operations as one graph of oneDNN's, which PyTorch brings along.

PyTorch's own calls of oneDNN look up a kernel and ask for memory each time, which for one picture
takes as long as computing. Its TorchScript hands oneDNN whole parts of a graph instead: they are
prepared once, joined and packed in oneDNN's own way.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import onednn
from ...layers.activation import ELU, BoundedReLU, Clip, ReLU, ReLU6, Sigmoid, TanH
from ...layers.convolution import Convolution, ConvolutionDepthwise, PaddedConvolution
from ...layers.eltwise import Eltwise
from ...layers.inner_product import InnerProduct
from ...layers.layer import Layer, as_tensors
from ...layers.lrn import LARGEST, LRN, band
from ...layers.pooling import Pooling, average_pool
from ...layers.rules import Rules
from ...layers.shape import Concat, Slice
from ...layers.softmax import Softmax
from ...layers.translation import openvino
from ...memory.blob import Shape
from ...proto.caffe_pb2 import PoolingParameter
from ...pytorch import F, torch
from ..plan.convolution import folded
from ..plan.operation import Operation, Part
from .libraries import FromArrays, LeftBehind, Library, are_finite, refusal

if TYPE_CHECKING:
    from torch import Tensor

_left_behind = LeftBehind("onednn")

_preparing = threading.Lock()
"""Held while PyTorch's settings and the warnings' filters, which all threads share, are others."""

PREPARING = 3
"""In how many runs TorchScript looks at shapes, joins operations and has them prepared."""

CALL, JOINED = 1e-4, 0.1
"""How many seconds each of PyTorch's calls may cost, and which part of its time joining may save.

On one thread, in each case the least time: MobileNet 7.2 / 6.1 ms for one picture, 107 / 102 for
16; ResNet-50 36 / 36 and 453 / 556, GoogLeNet 14.7 / 18.4 and 188 / 289, since Winograd's algorithm
is not in it.
"""

Rule = Callable[..., "Tensor | Sequence[Tensor]"]

graph: Rules[Rule] = Rules("form for oneDNN's graph")
"""What PyTorch computes for a layer, given it, its bottoms and its parameters, in a recording."""


class OneDnnGraph(Library):
    """The backend that has oneDNN compile operations; see `Library`."""

    name = "oneDNN's graph"
    packages = ("torch",)
    tolerance = 1e-4

    @classmethod
    def is_installed(cls) -> bool:
        """Tell whether this PyTorch hands graphs to oneDNN."""
        return onednn.joins_graphs()

    def at_best(self, by_torch: float, operations: int) -> float:
        """Return PyTorch's time without its calls: the kernels are the same."""
        return (1 - JOINED) * by_torch - CALL * operations

    def _refusal(self, part: Part) -> str | None:
        return refusal(part, graph)

    def _compiled(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> CompiledGraph:
        return CompiledGraph(operations, inputs, outputs)


class CompiledGraph(FromArrays):
    """Operations made ready by oneDNN, for inputs of fixed shapes; see `Compiled`.

    Parameters
    ----------
    operations : sequence of Operation
        Which; the backend takes them all.
    inputs : mapping of int to tuple of int
        The memories that they start from, with the blobs' shapes.
    outputs : list of int
        The memories whose final values are wanted.
    """

    def __init__(
        self, operations: Sequence[Operation], inputs: Mapping[int, Shape], outputs: list[int]
    ) -> None:
        _left_behind.add(self)
        steps = _Steps(operations, list(inputs), outputs)
        super().__init__(inputs, outputs, steps.has_odd_params)
        self._given = tuple(self.inputs.values())
        with _preparing, torch.no_grad(), warnings.catch_warnings():
            # Of what it takes for values that it could not know: shapes, which do not change.
            warnings.simplefilter("ignore")
            try:
                self._prepare(steps, is_joined=True)
            except RuntimeError:
                # Where something reads what oneDNN has laid out for itself alone.
                self._prepare(steps, is_joined=False)

    def _prepare(self, steps: _Steps, is_joined: bool) -> None:
        with _joining(is_joined):
            self._run = _recorded(steps.run, self._given)
            for _ in range(PREPARING):
                self._run(*self._given)

    def _computed(self) -> dict[int, Tensor]:
        with torch.no_grad():
            return dict(zip(self.outputs, self._run(*self._given), strict=True))


def _recorded(
    run: Callable[..., tuple[Tensor, ...]], given: tuple[Tensor, ...]
) -> Callable[..., tuple[Tensor, ...]]:
    """Return TorchScript's recording of a function.

    What `torch.jit.trace` makes is kept, with all weights, until the process ends.
    """
    names = [f"x{i}" for i in range(len(given))]
    settings: tuple[Any, ...] = (lambda value: "", True, False, None, names)
    recording, _ = torch._C._create_graph_by_tracing(run, given, *settings)
    made: Callable[..., tuple[Tensor, ...]] = torch._C._create_function_from_graph(
        "recorded", recording
    )
    return made


@contextmanager
def _joining(is_joined: bool) -> Iterator[None]:
    """Let TorchScript hand graphs to oneDNN, or not; others' graphs are none of our business."""
    was_joining = torch.jit.onednn_fusion_enabled()
    torch.jit.enable_onednn_fusion(is_joined)
    try:
        yield
    finally:
        torch.jit.enable_onednn_fusion(was_joining)


class _Steps:
    """Some operations as PyTorch's own functions."""

    def __init__(
        self, operations: Sequence[Operation], inputs: list[int], outputs: list[int]
    ) -> None:
        self._keys, self._outputs = inputs, outputs
        parts = [part for operation in operations for part in operation.parts]
        self._steps: list[tuple[Part, list[Tensor]]] = []
        for part in parts:
            if part.layer.is_affine:
                self._add_affine(part)
            else:
                params = [blob.data_tensor() for blob in part.layer.blobs]
                self._steps.append((part, params))
        for _, params in self._steps:
            params[:] = (
                x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
                for x in params
            )
        # Those of a recording stay with it.
        every = [values for _, params in self._steps for values in params]
        self.has_odd_params = not all(are_finite(values.numpy()) for values in every)

    def _add_affine(self, part: Part) -> None:
        """Fold what multiplies channels and adds to them into the convolution before, if it can be.

        What is to be multiplied and added is computed here: a recording would do so each time.
        """
        wide = [blob.data_tensor().double() for blob in part.layer.blobs]
        factor, summand = part.layer.affine(*wide)
        if not self._fold(part, factor, summand):
            across = (1, -1, *[1] * (len(part.read_shapes[0]) - 2))
            factor = torch.ones(1) if factor is None else factor
            summand = torch.zeros(1) if summand is None else summand
            params = [values.float().view(across) for values in (factor, summand)]
            self._steps.append((part, params))

    def _fold(self, part: Part, factor: Tensor | None, summand: Tensor | None) -> bool:
        """Fold such numbers into the parameters of the convolution before; returns whether so."""
        if not self._steps:
            return False
        before, params = self._steps[-1]
        if (
            not isinstance(before.layer, Convolution)
            or not part.reads == part.writes == before.writes
        ):
            return False
        weight, *biases = (values.double() for values in params)
        bias = biases[0] if biases else weight.new_zeros(len(weight))
        weight, bias = folded(weight, bias, factor, summand)
        params[:] = weight.float(), bias.float()
        return True

    def run(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs from the inputs."""
        values = {
            key: x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
            for key, x in zip(self._keys, given, strict=True)
        }
        for part, params in self._steps:
            xs = [
                _shaped(values[key], shape)
                for key, shape in zip(part.reads, part.read_shapes, strict=True)
            ]
            for key, top in zip(part.writes, _tops(part, _apart(xs), params), strict=True):
                values[key] = top
        return tuple(values[key].contiguous() for key in self._outputs)


def _shaped(x: Tensor, shape: Shape) -> Tensor:
    # Whatever stands between two operations keeps them from being joined.
    return x if tuple(x.shape) == shape else x.reshape(shape)


def _apart(xs: Sequence[Tensor]) -> list[Tensor]:
    """Copy what comes again: oneDNN's kernel for x + x + y + x reads where nothing is."""
    return [x.clone() if any(x is other for other in xs[:i]) else x for i, x in enumerate(xs)]


def _tops(part: Part, xs: list[Tensor], params: list[Tensor]) -> Sequence[Tensor]:
    layer = part.layer
    if layer.passes_on:
        return xs
    if layer.is_affine:
        factor, summand = params
        return [xs[0] * factor + summand]
    return as_tensors(graph.get(layer, *part.read_shapes)(layer, *xs, *params))


def _not_of_pictures(layer: Convolution, *shapes: Shape) -> str | None:
    if len(layer.kernel) != 2:
        return "no two axes"
    if isinstance(layer, PaddedConvolution) and layer.is_lopsided:
        return "padding of its own for each side"
    return openvino.refusal(layer, *shapes)


@graph.rule(Convolution, PaddedConvolution, ConvolutionDepthwise, unless=_not_of_pictures)
def _convolution(
    layer: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    how = layer.stride, layer.pad, layer.dilation, layer.param.group
    return F.conv2d(x, weight, bias, *how)


@graph.rule(InnerProduct)
def _inner_product(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    (top,) = layer.top_shapes(tuple(x.shape))
    rows = x.reshape(-1, layer.inputs)
    return F.linear(rows, weight.t() if layer.param.transpose else weight, bias).reshape(top)


@graph.rule(Pooling, unless=openvino.refusal)
def _pooling(layer: Pooling, x: Tensor) -> Tensor:
    windows = layer.windows(*x.shape[2:])
    if layer.param.pool == PoolingParameter.MAX:
        how = windows.kernel, windows.stride, windows.pad, 1, not windows.floor
        return torch.max_pool2d(x, *how)
    return average_pool(x, windows, padding_counts=layer.param.pool == PoolingParameter.AVE)


@graph.rule(LRN, unless=openvino.refusal)
def _lrn(layer: LRN, x: Tensor) -> Tensor:
    """A convolution of squares whose kernels are 1 for channels nearby."""
    param, channels = layer.param, x.shape[1]
    # By numpy, or a recording would compute it each time.
    kernels = band(channels, param.local_size, param.alpha).astype(np.float32)
    summand = np.full(channels, param.k, np.float32)
    x = x.clamp(-LARGEST, LARGEST)
    base = F.conv2d(x * x, torch.from_numpy(kernels), torch.from_numpy(summand))
    if param.beta != 0.75:
        return x * base.pow(-param.beta)
    root = base.rsqrt()
    return x * (root * root.sqrt())


@graph.rule(BoundedReLU, Clip, Concat, Eltwise, ELU, ReLU, ReLU6, Sigmoid, Slice, Softmax, TanH)
def _own(layer: Layer, *tensors: Tensor) -> Tensor | Sequence[Tensor]:
    return layer.forward(*tensors)
