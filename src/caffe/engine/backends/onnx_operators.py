"""The operators that translations are said in, OpenVINO's, written in ONNX's.

Each is named as in `openvino.opset13` and takes what translations give it, so that ONNX Runtime is
given every layer that OpenVINO is, by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...layers.lrn import LARGEST, band
from ...memory.blob import Shape
from .onnx_model import Model, Value


def _along(shape: Shape | None, other: Shape | None) -> Shape | None:
    return None if shape is None or other is None else tuple(np.broadcast_shapes(shape, other))


class OnnxOperators:
    """Operators that are added to a model.

    Parameters
    ----------
    model : Model
        Which.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    def _one(self, kind: str, *inputs: Value, shape: Shape | None = None, **how: Any) -> Value:
        """Add an operator; without a shape its layer says which one that is."""
        return self._model.add(kind, inputs, [shape], **how)[0]

    # Number by number.

    def _joined(self, kind: str, a: Value, b: Value) -> Value:
        return self._one(kind, a, b, shape=_along(a.shape, b.shape))

    def add(self, a: Value, b: Value) -> Value:
        return self._joined("Add", a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        return self._joined("Mul", a, b)

    def maximum(self, a: Value, b: Value) -> Value:
        return self._joined("Max", a, b)

    def power(self, a: Value, b: Value) -> Value:
        return self._joined("Pow", a, b)

    def _of_each(self, kind: str, x: Value, *others: Value, **how: Any) -> Value:
        return self._one(kind, x, *others, shape=x.shape, **how)

    def absolute(self, x: Value) -> Value:
        return self._of_each("Abs", x)

    def relu(self, x: Value) -> Value:
        return self._of_each("Relu", x)

    def elu(self, x: Value, alpha: float) -> Value:
        return self._of_each("Elu", x, alpha=alpha)

    def sigmoid(self, x: Value) -> Value:
        return self._of_each("Sigmoid", x)

    def tanh(self, x: Value) -> Value:
        return self._of_each("Tanh", x)

    def clamp(self, x: Value, least: float, most: float) -> Value:
        bounds = (self._model.constant(np.float32(bound)) for bound in (least, most))
        return self._of_each("Clip", x, *bounds)

    def prelu(self, x: Value, slope: Value) -> Value:
        """A slope for all, which can be joined with a convolution, or one for each channel."""
        assert slope.array is not None
        assert x.shape is not None
        if slope.array.size == 1:
            return self._of_each("LeakyRelu", x, alpha=float(slope.array.item()))
        across = slope.array.reshape(-1, *[1] * (len(x.shape) - 2))
        return self._of_each("PRelu", x, self._model.constant(across))

    def softmax(self, x: Value, axis: int) -> Value:
        return self._of_each("Softmax", x, axis=axis)

    # Windows.

    def convolution(
        self,
        x: Value,
        weight: Value,
        strides: Sequence[int],
        before: Sequence[int],
        behind: Sequence[int],
        dilations: Sequence[int],
    ) -> Value:
        return self._windows("Conv", x, weight, strides, before, behind, dilations, 1)

    def group_convolution(self, x: Value, weight: Value, *windows: Sequence[int]) -> Value:
        return self._windows("Conv", x, *self._ungrouped(weight, *windows))

    def convolution_backprop_data(
        self,
        x: Value,
        weight: Value,
        strides: Sequence[int],
        pads_begin: Sequence[int],
        pads_end: Sequence[int],
        dilations: Sequence[int],
    ) -> Value:
        windows = (strides, pads_begin, pads_end, dilations)
        return self._windows("ConvTranspose", x, weight, *windows, 1)

    def group_convolution_backprop_data(
        self,
        x: Value,
        weight: Value,
        strides: Sequence[int],
        pads_begin: Sequence[int],
        pads_end: Sequence[int],
        dilations: Sequence[int],
    ) -> Value:
        windows = (strides, pads_begin, pads_end, dilations)
        return self._windows("ConvTranspose", x, *self._ungrouped(weight, *windows))

    def _ungrouped(self, weight: Value, *windows: Sequence[int]) -> tuple[Any, ...]:
        """Weights as ONNX has them, without an axis for the groups, whose number stands behind."""
        assert weight.array is not None
        group, first, *rest = weight.array.shape
        together = self._model.constant(weight.array.reshape(group * first, *rest))
        return (together, *windows, group)

    def _windows(
        self,
        kind: str,
        x: Value,
        weight: Value,
        strides: Sequence[int],
        before: Sequence[int],
        behind: Sequence[int],
        dilations: Sequence[int],
        group: int,
    ) -> Value:
        pads = [*before, *behind]
        how: dict[str, Any] = {"strides": strides, "pads": pads, "dilations": dilations}
        return self._one(kind, x, weight, group=group, **how)

    def max_pool(
        self,
        x: Value,
        strides: Sequence[int],
        dilations: Sequence[int],
        before: Sequence[int],
        behind: Sequence[int],
        kernel: Sequence[int],
    ) -> Value:
        pads = [*before, *behind]
        return self._one("MaxPool", x, kernel_shape=kernel, strides=strides, pads=pads)

    def avg_pool(
        self,
        x: Value,
        strides: Sequence[int],
        before: Sequence[int],
        behind: Sequence[int],
        kernel: Sequence[int],
        excludes: bool,
    ) -> Value:
        how: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
        pads = [*before, *behind]
        return self._one("AveragePool", x, pads=pads, count_include_pad=int(not excludes), **how)

    # Sums over several numbers.

    def matmul(self, a: Value, b: Value, transposes_a: bool, transposes_b: bool) -> Value:
        assert a.shape is not None
        assert b.shape is not None
        shape = (a.shape[int(transposes_a)], b.shape[int(not transposes_b)])
        if shape[0] == 1:
            # One row has no use for packed weights, which would take as much memory once more.
            self._model.leave(b)
        how = {"transA": int(transposes_a), "transB": int(transposes_b)}
        return self._one("Gemm", a, b, shape=shape, **how)

    def lrn(
        self, x: Value, axes: Value, alpha: float, beta: float, bias: float, size: int
    ) -> Value:
        """Sums over neighbours as a convolution by a matrix with a band.

        ONNX Runtime's own LRN adds and takes away as it goes from channel to channel, which loses
        small sums behind large ones, and takes several times as long.
        """
        assert x.shape is not None
        kernels = self._model.constant(band(x.shape[1], size, alpha))
        summand = self._model.constant(np.full(x.shape[1], bias))
        x = self.clamp(x, -LARGEST, LARGEST)
        base = self._one("Conv", self.multiply(x, x), kernels, summand, shape=x.shape)
        if beta != 0.75:
            return self._of_each("Div", x, self.power(base, self._model.constant(beta)))
        root = self._of_each("Sqrt", base)
        return self._of_each("Div", x, self.multiply(root, self._of_each("Sqrt", root)))

    def normalize_l2(self, x: Value, axes: Value, eps: float, mode: str) -> Value:
        squares = self.multiply(x, x)
        total = self._one("ReduceSum", squares, axes, keepdims=1)
        length = self._one("Sqrt", self.add(total, self._model.constant(np.float32(eps))))
        return self._of_each("Div", x, length)

    # Numbers in another order.

    def concat(self, xs: Sequence[Value], axis: int) -> Value:
        return self._one("Concat", *xs, axis=axis)

    def constant(self, value: int) -> int:
        return value

    def variadic_split(self, x: Value, axis: int, sizes: Value) -> list[Value]:
        assert sizes.array is not None
        return self._model.add("Split", [x, sizes], [None] * len(sizes.array), axis=axis)

    def transpose(self, x: Value, order: Value) -> Value:
        assert order.array is not None
        return self._one("Transpose", x, perm=order.array.tolist())

    def reshape(self, x: Value, shape: Value) -> Value:
        assert shape.array is not None
        return self._one("Reshape", x, shape, shape=tuple(shape.array.tolist()))

    def shuffle_channels(self, x: Value, axis: int, group: int) -> Value:
        assert x.shape is not None
        before, behind = x.shape[:axis], x.shape[axis + 1 :]
        apart = self._model.constant(np.array([*before, group, x.shape[axis] // group, *behind]))
        turned = [*range(axis), axis + 1, axis, *range(axis + 2, len(x.shape) + 1)]
        y = self._one("Transpose", self.reshape(x, apart), perm=turned)
        return self.reshape(y, self._model.constant(np.array(x.shape)))
