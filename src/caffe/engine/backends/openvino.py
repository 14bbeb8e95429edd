"""Running a plan's operations by OpenVINO, where that package is installed.

OpenVINO is given the layers, not PyTorch's packed form of them, and joins and packs in its own way.
The translation knows the layers of published nets; the first operation that it does not know
and all behind it stay with PyTorch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import CaffeError, require
from ...layers.activation import ELU, AbsVal, BoundedReLU, Clip, PReLU, ReLU, ReLU6, Sigmoid, TanH
from ...layers.arithmetic import Axpy
from ...layers.convolution import (
    Convolution,
    ConvolutionDepthwise,
    Deconvolution,
    PaddedConvolution,
)
from ...layers.detection.prior_box import PriorBox
from ...layers.dropout import Dropout
from ...layers.elementwise import Power
from ...layers.eltwise import Eltwise
from ...layers.inner_product import InnerProduct
from ...layers.layer import Layer, as_tensors
from ...layers.normalization import LRN, Normalize
from ...layers.permute import Permute
from ...layers.pooling import Pooling
from ...layers.rearranging import ShuffleChannel
from ...layers.shape import Concat, Slice
from ...layers.softmax import Softmax
from ...memory.blob import Shape
from ...proto.caffe_pb2 import EltwiseParameter, LRNParameter, PoolingParameter
from ..operations import Operation

Node = Any
"""One value of OpenVINO's graph (`openvino.Output`)."""

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


def is_installed() -> bool:
    """Tell whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


def reach(operations: Sequence[Operation]) -> int:
    """Tell how many operations, from the first on, can be translated."""
    for i, operation in enumerate(operations):
        if not all(_suits(part.layer, part.read_shapes) for part in operation.parts):
            return i
    return len(operations)


class Compiled:
    """Operations made ready by OpenVINO, for inputs of fixed shapes.

    Parameters
    ----------
    operations : sequence of Operation
        Which; `reach` says how many can be.
    inputs : mapping of int to tuple of int
        The memories that they start from, with the blobs' shapes.
    outputs : iterable of int
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
        outputs: Iterable[int],
        precision: torch.dtype,
    ) -> None:
        ov: Any = require("openvino", "openvino", "the engine of that name")
        translation = _Translation(operations, inputs)
        self.outputs = list(outputs)
        model = ov.Model(
            [translation.values[key] for key in self.outputs],
            [translation.parameters[key] for key in inputs],
        )
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        }
        self._request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
        # Inputs are written straight into what OpenVINO reads.
        self._inputs = {key: np.empty(shape, np.float32) for key, shape in inputs.items()}
        self.inputs = {key: torch.from_numpy(array) for key, array in self._inputs.items()}
        for i, array in enumerate(self._inputs.values()):
            self._request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))
        self._results = [self._request.get_output_tensor(i).data for i in range(len(self.outputs))]

    def take(self, values: Mapping[int, Tensor]) -> bool:
        """Take the inputs' values; returns whether they can be computed from."""
        # By numpy: PyTorch's threads would wait for more work, on OpenVINO's CPUs.
        for key, array in self._inputs.items():
            np.copyto(array, values[key].numpy())
        # OpenVINO's layers pass over what is not a number in another way than Caffe's.
        return all(bool(np.isfinite(array.sum())) for array in self._inputs.values())

    def run(self) -> dict[int, Tensor]:
        """Compute from the inputs; the results are overwritten by the next run."""
        self._request.start_async()
        self._request.wait()
        return {
            key: torch.from_numpy(values)
            for key, values in zip(self.outputs, self._results, strict=True)
        }


class _Translation:
    """OpenVINO's graph of some operations, grown one layer after the other."""

    def __init__(self, operations: Sequence[Operation], inputs: Mapping[int, Shape]) -> None:
        from openvino import opset13

        self._ops: Any = opset13
        self.parameters = {
            key: self._ops.parameter(list(shape), np.float32) for key, shape in inputs.items()
        }
        self.values: dict[int, Node] = {
            key: node.output(0) for key, node in self.parameters.items()
        }
        for operation in operations:
            for part in operation.parts:
                bottoms = [
                    self._shaped(self.values[key], shape)
                    for key, shape in zip(part.reads, part.read_shapes, strict=True)
                ]
                tops = self._translate(part.layer, bottoms, part.read_shapes, part.shapes)
                for key, top, shape in zip(part.writes, tops, part.shapes, strict=True):
                    if tuple(top.get_shape()) != shape:
                        raise CaffeError(
                            f"{operation.label}: OpenVINO makes {tuple(top.get_shape())} of what "
                            f"is {shape} in Caffe; use caffe.set_engine('torch')"
                        )
                    self.values[key] = top

    def _translate(
        self, layer: Any, xs: list[Node], shapes: list[Shape], top_shapes: list[Shape]
    ) -> list[Node]:
        if layer.is_affine:
            return [self._affine(layer, xs[0], shapes[0])]
        return _TRANSLATIONS[type(layer)](self, layer, xs, shapes, top_shapes)

    def _constant(self, values: Any) -> Node:
        return self._ops.constant(np.ascontiguousarray(values, dtype=np.float32)).output(0)

    def _integers(self, values: Iterable[int]) -> Node:
        return self._ops.constant(np.array(list(values), dtype=np.int64)).output(0)

    def _weights(self, layer: Layer, index: int, shape: Shape | None = None) -> Node:
        """A parameter as a constant that lies where the parameter lies."""
        import openvino as ov

        values = layer.blobs[index].data_tensor().numpy()
        values = values if shape is None else values.reshape(shape)
        return ov.op.Constant(values, shared_memory=True).output(0)

    def _shaped(self, x: Node, shape: Shape) -> Node:
        if tuple(x.get_shape()) == shape:
            return x
        return self._ops.reshape(x, self._integers(shape), False).output(0)

    def _affine(self, layer: Layer, x: Node, shape: Shape) -> Node:
        params = [blob.data_tensor().double() for blob in layer.blobs]
        factor, summand = layer.affine(*params)
        across = (1, -1, *[1] * (len(shape) - 2))
        if factor is not None:
            x = self._ops.multiply(x, self._constant(factor.numpy().reshape(across))).output(0)
        if summand is not None:
            x = self._ops.add(x, self._constant(summand.numpy().reshape(across))).output(0)
        return x

    def _biased(self, y: Node, layer: Layer, axes: int) -> Node:
        if len(layer.blobs) < 2:
            return y
        return self._ops.add(y, self._weights(layer, 1, (1, -1, *[1] * axes))).output(0)

    # One method for each kind of layer: its bottoms, their shapes and the tops' in, its tops out.

    def convolution(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Convolution, in one group or several."""
        left, right, top, bottom = (
            layer.sides(shapes[0][2:])
            if isinstance(layer, PaddedConvolution)
            else [p for pad in reversed(layer.pad) for p in (pad, pad)]
        )
        windows = (list(layer.stride), [top, left], [bottom, right], list(layer.dilation))
        group = layer.param.group
        if group == 1:
            y = self._ops.convolution(xs[0], self._weights(layer, 0), *windows)
        else:
            out, *rest = layer.blobs[0].shape
            weights = self._weights(layer, 0, (group, out // group, *rest))
            y = self._ops.group_convolution(xs[0], weights, *windows)
        return [self._biased(y.output(0), layer, 2)]

    def deconvolution(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Deconvolution, in one group or several."""
        pads = list(layer.pad)
        windows: dict[str, Any] = {
            "strides": list(layer.stride),
            "pads_begin": pads,
            "pads_end": pads,
            "dilations": list(layer.dilation),
        }
        group = layer.param.group
        if group == 1:
            weights = self._weights(layer, 0)
            y = self._ops.convolution_backprop_data(xs[0], weights, **windows)
        else:
            channels, *rest = layer.blobs[0].shape
            weights = self._weights(layer, 0, (group, channels // group, *rest))
            y = self._ops.group_convolution_backprop_data(xs[0], weights, **windows)
        return [self._biased(y.output(0), layer, 2)]

    def inner_product(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """InnerProduct from its axis on."""
        rows = self._shaped(xs[0], (-1, layer.inputs))
        y = self._ops.matmul(rows, self._weights(layer, 0), False, not layer.param.transpose)
        return [self._shaped(self._biased(y.output(0), layer, 0), tops[0])]

    def max_or_mean(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Pooling: zeros are added behind until Caffe's last window is whole."""
        size = shapes[0][2:]
        windows = layer.windows(*size)
        behind = [
            max(0, (out - 1) * s + k - p - n)
            for n, k, s, p, out in zip(
                size, windows.kernel, windows.stride, windows.pad, tops[0][2:], strict=True
            )
        ]
        stride, pad, kernel = list(windows.stride), list(windows.pad), list(windows.kernel)
        if layer.param.pool == PoolingParameter.MAX:
            return [self._ops.max_pool(xs[0], stride, [1, 1], pad, behind, kernel).output(0)]
        excludes = layer.param.pool != PoolingParameter.AVE
        y = self._ops.avg_pool(xs[0], stride, pad, behind, kernel, excludes).output(0)
        counts = windows.counts(*size, padding_counts=True).numpy()
        factor = np.prod(kernel) / counts
        if not excludes and (factor != 1).any():
            # Caffe leaves out what lies behind the padding.
            y = self._ops.multiply(y, self._constant(factor[None, None])).output(0)
        return [y]

    def lrn(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """LRN across channels."""
        param = layer.param
        y = self._ops.lrn(
            xs[0], self._integers([1]), param.alpha, param.beta, param.k, param.local_size
        )
        return [y.output(0)]

    def normalize(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """SSD's Normalize."""
        axes = range(1, len(shapes[0])) if layer.param.across_spatial else [1]
        y = self._ops.normalize_l2(xs[0], self._integers(axes), layer.param.eps, "add")
        scale = self._weights(layer, 0, (1, -1, *[1] * (len(shapes[0]) - 2)))
        return [self._ops.multiply(y, scale).output(0)]

    def relu(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """ReLU, leaky or not."""
        slope = layer.param.negative_slope
        if not slope:
            return [self._ops.relu(xs[0]).output(0)]
        return [self._ops.prelu(xs[0], self._constant([slope])).output(0)]

    def bounded_relu(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """ReLU between bounds."""
        least, most = (float(np.clip(b, -3e38, 3e38)) for b in layer.bounds())
        return [self._ops.clamp(self.relu(layer, xs, shapes, tops)[0], least, most).output(0)]

    def prelu(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """PReLU, a slope per channel or one."""
        slopes = self._weights(layer, 0, (-1,))
        return [self._ops.prelu(xs[0], slopes).output(0)]

    def clip(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Clip."""
        least, most = layer.param.min, layer.param.max
        return [self._ops.clamp(xs[0], least, max(least, most)).output(0)]

    def activation(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Sigmoid, TanH, AbsVal and ELU."""
        if isinstance(layer, ELU):
            return [self._ops.elu(xs[0], layer.param.alpha).output(0)]
        names = {Sigmoid: "sigmoid", TanH: "tanh", AbsVal: "absolute"}
        return [getattr(self._ops, names[type(layer)])(xs[0]).output(0)]

    def power(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Power."""
        param = layer.param
        y = self._ops.multiply(xs[0], self._constant(param.scale))
        y = self._ops.add(y, self._constant(param.shift))
        if param.power != 1:
            y = self._ops.power(y, self._constant(param.power))
        return [y.output(0)]

    def eltwise(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Eltwise."""
        kinds = {
            EltwiseParameter.PROD: self._ops.multiply,
            EltwiseParameter.SUM: self._ops.add,
            EltwiseParameter.MAX: self._ops.maximum,
        }
        coeff = list(layer.param.coeff)
        if any(c != 1 for c in coeff):
            xs = [
                self._ops.multiply(x, self._constant(c)).output(0)
                for x, c in zip(xs, coeff, strict=True)
            ]
        y = xs[0]
        for x in xs[1:]:
            y = kinds[layer.param.operation](y, x).output(0)
        return [y]

    def concat(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Concat."""
        return [self._ops.concat(xs, layer.along(shapes[0])).output(0)]

    def slice(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Slice."""
        axis = layer.along(shapes[0])
        sizes = self._integers(shape[axis] for shape in tops)
        parts = self._ops.variadic_split(xs[0], self._ops.constant(axis), sizes)
        return [parts.output(i) for i in range(len(tops))]

    def softmax(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Softmax."""
        axis = layer.param.axis % len(shapes[0])
        return [self._ops.softmax(xs[0], axis).output(0)]

    def permute(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Permute."""
        order = list(layer.param.order)
        order += [axis for axis in range(len(shapes[0])) if axis not in order]
        return [self._ops.transpose(xs[0], self._integers(order)).output(0)]

    def shuffle_channel(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """ShuffleChannel."""
        return [self._ops.shuffle_channels(xs[0], 1, layer.param.group).output(0)]

    def axpy(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Axpy: a * x + y."""
        factor = self._shaped(xs[0], (*shapes[1][:2], *[1] * (len(shapes[1]) - 2)))
        return [self._ops.add(self._ops.multiply(factor, xs[1]), xs[2]).output(0)]

    def pass_on(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """Dropout at TEST."""
        return list(xs)

    def fixed(self, layer: Any, xs: Any, shapes: Any, tops: Any) -> list[Node]:
        """PriorBox: what depends on the bottoms' shapes alone."""
        results = as_tensors(layer.forward(*(torch.zeros(shape) for shape in shapes)))
        return [self._constant(result.numpy()) for result in results]


_TRANSLATIONS: dict[type[Layer], Callable[..., list[Node]]] = {
    Convolution: _Translation.convolution,
    PaddedConvolution: _Translation.convolution,
    ConvolutionDepthwise: _Translation.convolution,
    Deconvolution: _Translation.deconvolution,
    InnerProduct: _Translation.inner_product,
    Pooling: _Translation.max_or_mean,
    LRN: _Translation.lrn,
    Normalize: _Translation.normalize,
    ReLU: _Translation.relu,
    BoundedReLU: _Translation.bounded_relu,
    ReLU6: _Translation.bounded_relu,
    PReLU: _Translation.prelu,
    Clip: _Translation.clip,
    ELU: _Translation.activation,
    Sigmoid: _Translation.activation,
    TanH: _Translation.activation,
    AbsVal: _Translation.activation,
    Power: _Translation.power,
    Eltwise: _Translation.eltwise,
    Concat: _Translation.concat,
    Slice: _Translation.slice,
    Softmax: _Translation.softmax,
    Permute: _Translation.permute,
    ShuffleChannel: _Translation.shuffle_channel,
    Axpy: _Translation.axpy,
    Dropout: _Translation.pass_on,
    PriorBox: _Translation.fixed,
}


def _suits(layer: Any, shapes: list[Shape]) -> bool:
    """Whether a layer can be translated as it is set up."""
    if layer.is_affine:
        return True
    kind = type(layer)
    if kind not in _TRANSLATIONS or not all(all(shape) for shape in shapes):
        return False
    if isinstance(layer, Convolution | Deconvolution):
        return len(shapes) == 1 and len(layer.kernel) == 2 and layer.channel_axis == 1
    if kind is Pooling:
        return layer.param.pool != PoolingParameter.STOCHASTIC and (
            len(layer.layer_param.top) == 1
            and layer.windows(*shapes[0][2:]).suits_torch(*shapes[0][2:])
        )
    if kind is LRN:
        return layer.param.norm_region == LRNParameter.ACROSS_CHANNELS
    if kind is Dropout:
        return bool(layer.param.scale_train)
    if kind is Power:
        return layer.param.scale * layer.param.power != 0
    return True
