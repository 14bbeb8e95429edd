"""Convolution, and its gradient used as a layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from .. import mode
from ..errors import NetError, ShapeError
from ..memory.blob import Shape
from ..proto.caffe_pb2 import LayerParameter
from ..pytorch import F, torch
from .convolution_in_training import Convolved, spreading
from .layer import Layer, Parameter, Tensors, register
from .reach import Alignment, Along, Reach
from .translation import Graph, Value, openvino
from .windows import SIDES, C, Windowed, same_padding

if TYPE_CHECKING:
    from torch import Tensor

KNOWN_AXES = (1, 2, 3)
"""Over how many axes PyTorch has a convolution of its own."""

MISREAD_CHANNELS = 32
"""How many channels of a window oneDNN reads right, however wide the results are."""


class Kernels(Windowed[C]):
    """What Convolution and Deconvolution share: learned kernels, groups and a bias."""

    def setup(self, *bottoms: Shape) -> None:
        super().setup(*bottoms)
        group, outputs = self.param.group, self.param.num_output
        if outputs < 1:
            raise NetError("num_output must be at least 1")
        if not self.channels:
            raise ShapeError(f"a bottom of shape {bottoms[0]} has no channels to slide over")
        if group < 1 or self.channels % group or outputs % group:
            raise NetError(
                f"the {self.channels} channels and the {outputs} outputs must both be multiples "
                f"of group, which is {group}"
            )

    def weight_shape(self) -> Shape:
        """The kernels' shape."""
        raise NotImplementedError

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        wanted = [Parameter(self.weight_shape(), self.param.weight_filler)]
        if self.param.bias_term:
            wanted.append(Parameter((self.param.num_output,), self.param.bias_filler))
        return wanted

    @property
    def out_channels(self) -> int:
        return self.param.num_output

    def forward(self, *inputs: Tensor) -> Sequence[Tensor]:
        count = len(inputs) - (2 if self.param.bias_term else 1)
        weight = inputs[count]
        bias = inputs[count + 1] if self.param.bias_term else None
        return [
            self.unbatched(self.apply(self.batched(x), weight, bias), x) for x in inputs[:count]
        ]

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute one top from x of shape (batch, channels, *spatial)."""
        raise NotImplementedError

    transposed: ClassVar[bool] = False
    """Whether `apply` is the gradient of a convolution."""

    def _is_plain(self, x: Tensor) -> bool:
        """Whether `apply` is no more than PyTorch's own function."""
        return (
            type(self).computes_as in (Convolution, Deconvolution)
            and not self.is_patched
            and self.channel_axis == 1
            and len(self.kernel) in KNOWN_AXES
            and (self.transposed or self.reaching(x) is x)
        )

    @property
    def _convolved(self) -> Convolved:
        windows = self.stride, self.pad, self.dilation
        is_exact = mode.engine() == "layerwise"
        return Convolved(*windows, self.param.group, self.transposed, is_exact)

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        # As autograd's, but without computing the tops once more.
        count = len(diffs)
        if not self._is_plain(inputs[0]):
            return super().backward(diffs, tops, inputs, needs)
        bottoms, weight, has_bias = inputs[:count], inputs[count], self.param.bias_term
        convolved = self._convolved
        of_bottoms: list[Tensor | None] = []
        of_params: list[Tensor | None] = [None] * (len(inputs) - count)
        for x, diff, need in zip(bottoms, diffs, needs, strict=False):
            wanted = [need, needs[count], has_bias and needs[-1]]
            of_x, *found = convolved.gradients(diff, x, weight, has_bias, wanted)
            of_bottoms.append(of_x)
            for i, gradient in enumerate(found[: len(of_params)]):
                before = of_params[i]
                both = before is not None and gradient is not None
                of_params[i] = before + gradient if both else gradient  # type: ignore[operator]
        return [*of_bottoms, *of_params]


@register("Convolution")
class Convolution(Kernels[C]):
    """top[n, o] = bias[o] + sum of weight[o, c] * window[n, c], over the channels of o's group.

    The kernels have the shape (num_output, channels / group, *kernel). Several bottoms give
    as many tops, by the same kernels.
    """

    differences = "pad_l, pad_r, pad_t, pad_b, pad_type and hole of the forks"
    trains_unseen = True

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        param = layer_param.convolution_param
        given = any(getattr(param, f"pad_{side}") for side in SIDES) or param.pad_type
        return PaddedConvolution if given else cls

    def weight_shape(self) -> Shape:
        return (self.param.num_output, self.channels // self.param.group, *self.kernel)

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(map(math.prod, tops)) * math.prod(self.weight_shape()[1:])

    def forward_in_training(self, *inputs: Tensor) -> Tensor | Sequence[Tensor]:
        x, weight, *biases = inputs
        if len(inputs) == 1 + len(self.blobs) and self._is_plain(x):
            top = self._convolved.by_kernels(x, weight, *biases)
            if top is not None:
                return top
        return super().forward_in_training(*inputs)

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if len(self.kernel) in KNOWN_AXES:
            convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel) - 1]
            x, stride, pad = self._placed(self.reaching(x))
            return convolve(x, weight, bias, stride, pad, self.dilation, self.param.group)
        # Any other number of axes (none among them): as a product with the windows.
        group, axes = self.param.group, len(self.kernel)
        windows = self.windows(x)
        out = windows.shape[2 : 2 + axes]
        order = (0, 1, *range(2 + axes, 2 + 2 * axes), *range(2, 2 + axes))
        columns = windows.permute(order).reshape(len(x), group, -1, math.prod(out))
        y = torch.matmul(weight.reshape(group, -1, columns.shape[2]), columns)
        y = y.reshape(len(x), -1, *out)
        return y if bias is None else y + bias.view(-1, *[1] * axes)

    @property
    def has_windows_in_padding(self) -> bool:
        """Whether a window may lie in the padding altogether.

        oneDNN's dilated convolutions, channels last, end the process there.
        """
        return any(p >= e for p, e in zip(self.pad, self.extent, strict=True))

    def _placed(self, x: Tensor) -> tuple[Tensor, Shape, Shape]:
        """Return what is convolved, with which strides, and the padding that it still needs."""
        stride, pad = self.stride, self.pad
        if self.has_windows_in_padding:
            x = F.pad(x, [p for n in reversed(pad) for p in (n, n)])
            pad = (0,) * len(pad)
        if stride and stride[-1] > max(1, x.shape[-1] + 2 * pad[-1] - self.extent[-1]):
            # One column takes no stride: see `is_misread`.
            sides = pad[-1], self.extent[-1] - pad[-1] - x.shape[-1]
            x = F.pad(x, sides) if any(sides) else x
            stride, pad = (*stride[:-1], 1), (*pad[:-1], 0)
        return x, stride, pad

    def is_misread(self, bottom: Shape) -> bool:
        """Whether oneDNN, which OpenVINO has too, takes other numbers than those of the windows.

        With AVX-512 and channels last it does where the results are one column wide at a stride:
        of one channel, and in short numbers of some more.
        """
        if len(self.stride) < 2 or self.stride[-1] == 1 or self.out_sizes(bottom[2:])[-1] > 1:
            return False
        if mode.precision() != torch.float32:
            return self.channels // self.param.group < MISREAD_CHANNELS
        return self.channels == self.stride[-2] == 1


class PaddedConvolution(Convolution):
    """A Convolution whose padding may differ from side to side, as forks have it."""

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        return cls

    def setup(self, *bottoms: Shape) -> None:
        super().setup(*bottoms)
        self._given = tuple(getattr(self.param, f"pad_{side}") for side in SIDES)
        if not any(self._given) and not self.param.pad_type:
            return
        if any(self.pad):
            raise NetError("give pad, or pad_l, pad_r, pad_t and pad_b (or pad_type), not both")
        if len(self.kernel) != 2:
            raise NetError(f"pad_l to pad_b need two axes to slide over, not {len(self.kernel)}")
        if self.param.pad_type > 1:
            raise NetError(f"pad_type must be 0 or 1 (SAME), not {self.param.pad_type}")

    @property
    def is_lopsided(self) -> bool:
        """Whether a fork's field says the padding, which may differ from side to side."""
        return any(self._given) or bool(self.param.pad_type)

    def sides(self, spatial: Shape) -> list[int]:
        """Return the padding in the order of F.pad: left, right, top, bottom."""
        if any(self._given):
            return list(self._given)
        if self.param.pad_type:
            return same_padding(spatial, self.extent, self.stride)
        return [p for pad in reversed(self.pad) for p in (pad, pad)]

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        found = super().receptive_field(bottom)
        if found is None or any(self.pad) or len(self.kernel) != 2:
            return found
        left, _, top, _ = self.sides(bottom[2:])
        return [
            Reach(reach.size, reach.stride, Fraction(-before))
            for reach, before in zip(found, (top, left), strict=True)
        ]

    def out_sizes(self, spatial: Shape) -> Shape:
        if any(self.pad) or len(self.kernel) != 2:
            return super().out_sizes(spatial)
        left, right, top, bottom = self.sides(spatial)
        return super().out_sizes((spatial[0] + top + bottom, spatial[1] + left + right))

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not any(self.pad) and len(self.kernel) == 2:
            x = F.pad(x, self.sides(tuple(x.shape[2:])))
        return super().apply(x, weight, bias)


@register("ConvolutionDepthwise", "DepthwiseConvolution")
class ConvolutionDepthwise(PaddedConvolution):
    """A Convolution whose group is the number of channels where none is given.

    The kernels have the shape (num_output, 1, *kernel).
    """

    differences = "of the forks"
    trains_unseen = True

    def setup(self, *bottoms: Shape) -> None:
        channels = bottoms[0][self.axis(self.param.axis, bottoms[0])]
        if not self.param.HasField("group"):
            self.param.group = channels
        if not self.param.HasField("num_output"):
            self.param.num_output = channels
        super().setup(*bottoms)


def _not_two_axes(layer: Kernels, *bottoms: Shape) -> str | None:
    if len(bottoms) != 1:
        return "several bottoms"
    if len(layer.kernel) != 2 or layer.channel_axis != 1:
        return "no two axes behind channels on axis 1"
    return None


def _sides(layer: Convolution, spatial: Shape) -> list[int]:
    """The padding: left, right, top, bottom."""
    if isinstance(layer, PaddedConvolution):
        return layer.sides(spatial)
    return [p for pad in reversed(layer.pad) for p in (pad, pad)]


def _not_convolution(layer: Convolution, *bottoms: Shape) -> str | None:
    refusal = _not_two_axes(layer, *bottoms)
    if refusal is not None:
        return refusal
    spatial = bottoms[0][2:]
    left, right, top, bottom = _sides(layer, spatial)
    padded = (spatial[0] + top + bottom, spatial[1] + left + right)
    if any(e > size for e, size in zip(layer.extent, padded, strict=True)):
        return "a window that reaches past the padding"
    height, width = layer.extent
    has_some = max(top, bottom) >= height or max(left, right) >= width
    if has_some and (any(d > 1 for d in layer.dilation) or layer.weight_shape()[1] == 1):
        # Of one channel, OpenVINO computes otherwise what lies far from the picture.
        return "windows in the padding"
    return "results of one column at a stride" if layer.is_misread(bottoms[0]) else None


@openvino.rule(Convolution, PaddedConvolution, ConvolutionDepthwise, unless=_not_convolution)
def _convolution(layer: Convolution, graph: Graph, x: Value) -> Value:
    left, right, top, bottom = _sides(layer, graph.shape(x)[2:])
    windows = (list(layer.stride), [top, left], [bottom, right], list(layer.dilation))
    if layer.param.group == 1:
        y = graph.ops.convolution(x, graph.parameter(layer, 0), *windows)
    else:
        y = graph.ops.group_convolution(x, _grouped(layer, graph), *windows)
    return graph.biased(y, layer, 2)


def _grouped(layer: Kernels, graph: Graph) -> Value:
    """The weights with an axis of their own for the groups."""
    first, *rest = layer.blobs[0].shape
    group = layer.param.group
    return graph.parameter(layer, 0, (group, first // group, *rest))


@register("Deconvolution")
class Deconvolution(Kernels):
    """What Convolution's gradient does to its bottom: it enlarges by the stride.

    The kernels have the shape (channels, num_output / group, *kernel).
    """

    transposed = True

    alignment: ClassVar[Alignment | None] = Alignment.SPREAD
    fresh_tops = True
    takes_short_numbers = True
    asks_no_values = True

    def weight_shape(self) -> Shape:
        return (self.channels, self.param.num_output // self.param.group, *self.kernel)

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        return sum(map(math.prod, bottoms)) * math.prod(self.weight_shape()[1:])

    def receptive_field(self, bottom: Shape) -> Sequence[Reach] | None:
        if self.channel_axis != 1:
            return None
        return [
            Reach((e - 1) // s + 1, Fraction(1, s), Fraction(p - e + 1, s))
            for e, s, p in zip(self.extent, self.stride, self.pad, strict=True)
        ]

    def coordinates(self, bottom: Shape) -> Sequence[Along] | None:
        if self.channel_axis != 1:
            return None
        return [
            (Fraction(1, s), (p - Fraction(e - 1, 2)) / s)
            for e, s, p in zip(self.extent, self.stride, self.pad, strict=True)
        ]

    def out_sizes(self, spatial: Shape) -> Shape:
        """stride * (size - 1) + extent - 2 pad."""
        return tuple(
            s * (size - 1) + e - 2 * p
            for size, p, e, s in zip(spatial, self.pad, self.extent, self.stride, strict=True)
        )

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        group, axes = self.param.group, len(self.kernel)
        if axes in KNOWN_AXES:
            deconvolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
            stride = spreading(self.stride, x)
            return deconvolve(x, weight, bias, stride, self.pad, 0, group, self.dilation)
        # Any other number of axes (none among them): each product added where its window lies.
        sizes = x.shape[2:]
        columns = torch.matmul(
            weight.reshape(group, self.channels // group, -1).transpose(1, 2),
            x.reshape(len(x), group, self.channels // group, -1),
        ).view(len(x), self.out_channels, *self.kernel, *sizes)
        columns = columns.permute(*range(2, 2 + axes), 0, 1, *range(2 + axes, 2 + 2 * axes))
        out = self.out_sizes(sizes)
        padded = [n + 2 * p for n, p in zip(out, self.pad, strict=True)]
        y = x.new_zeros(len(x), self.out_channels, *padded)
        for tap in itertools.product(*map(range, self.kernel)):
            steps = zip(tap, self.dilation, self.stride, sizes, strict=True)
            place: list[slice] = [slice(None), slice(None)]
            place += [slice(t * d, t * d + s * (n - 1) + 1, s) for t, d, s, n in steps]
            y[tuple(place)] += columns[tap]
        for axis, (n, p) in enumerate(zip(out, self.pad, strict=True), start=2):
            y = y.narrow(axis, p, n)
        return y if bias is None else y + bias.view(-1, *[1] * axes)


@openvino.rule(Deconvolution, unless=_not_two_axes)
def _deconvolution(layer: Deconvolution, graph: Graph, x: Value) -> Value:
    pads = list(layer.pad)
    windows: dict[str, list[int]] = {
        "strides": list(layer.stride),
        "pads_begin": pads,
        "pads_end": pads,
        "dilations": list(layer.dilation),
    }
    if layer.param.group == 1:
        y = graph.ops.convolution_backprop_data(x, graph.parameter(layer, 0), **windows)
    else:
        y = graph.ops.group_convolution_backprop_data(x, _grouped(layer, graph), **windows)
    return graph.biased(y, layer, 2)
