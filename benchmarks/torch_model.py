"""A net as somebody would write it in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from graph import Operation, operations, pooling, spatial
from torch import Tensor, nn
from torch.nn import functional as F

import caffe


class TorchNet(nn.Module):
    """The net's operations, one after the other."""

    def __init__(self, net: caffe.Net) -> None:
        super().__init__()
        found, self.output = operations(net)
        (self.input,) = net.inputs
        self.parts = nn.ModuleList(_part(operation) for operation in found)
        self.places = [(operation.inputs, operation.output) for operation in found]

    def forward(self, data: Tensor) -> Tensor:
        values = {self.input: data}
        for part, (inputs, output) in zip(self.parts, self.places, strict=True):
            values[output] = part(*(values[name] for name in inputs))
        return values[self.output]


class Function(nn.Module):
    """What has no parameters."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def _part(operation: Operation) -> nn.Module:
    param = operation.param
    arrays = [torch.from_numpy(array) for array in operation.arrays]
    match operation.type:
        case "Convolution":
            layer = param.convolution_param
            outputs, inputs = arrays[0].shape[0], arrays[0].shape[1] * layer.group
            part: nn.Module = nn.Conv2d(
                inputs,
                outputs,
                spatial(layer, "kernel_size", 1),
                spatial(layer, "stride", 1),
                spatial(layer, "pad", 0),
                spatial(layer, "dilation", 1),
                layer.group,
                bias=len(arrays) > 1,
            )
            _set(part, weight=arrays[0], **({"bias": arrays[1]} if len(arrays) > 1 else {}))
            return part
        case "InnerProduct":
            linear = nn.Linear(arrays[0].shape[1], arrays[0].shape[0])
            _set(linear, weight=arrays[0], bias=arrays[1])
            return nn.Sequential(nn.Flatten(), linear)
        case "BatchNorm":
            part = nn.BatchNorm2d(len(arrays[0]), eps=param.batch_norm_param.eps)
            mean, variance, scale, bias = arrays
            _set(part, running_mean=mean, running_var=variance, weight=scale, bias=bias)
            return part
        case "Pooling":
            return _pooling(operation)
        case "LRN":
            lrn = param.lrn_param
            return nn.LocalResponseNorm(lrn.local_size, lrn.alpha, lrn.beta, lrn.k)
        case "Clip":
            return nn.Hardtanh(param.clip_param.min, param.clip_param.max, inplace=True)
        case "Concat":
            axis = param.concat_param.axis
            return Function(lambda *inputs: torch.cat(inputs, axis))
        case "Softmax":
            return nn.Softmax(param.softmax_param.axis)
        case "Eltwise":
            return Function(torch.add)
        case "ReLU":
            return nn.ReLU(inplace=True)
    raise NotImplementedError(f"{param.name}: {operation.type}")


def _set(part: nn.Module, **values: Tensor) -> None:
    part.load_state_dict(values, strict=False)


def _pooling(operation: Operation) -> nn.Module:
    kernel, stride, pads = pooling(operation)
    layer = operation.param.pooling_param
    if layer.global_pooling:
        return nn.AdaptiveMaxPool2d(1) if layer.pool == layer.MAX else nn.AdaptiveAvgPool2d(1)
    top, left, bottom, right = pads
    if layer.pool == layer.AVE:
        is_beyond = (top, left) != (bottom, right)
        return nn.AvgPool2d(kernel, stride, (top, left), ceil_mode=is_beyond)
    if (top, left) == (bottom, right):
        return nn.MaxPool2d(kernel, stride, (top, left))
    part = nn.MaxPool2d(kernel, stride, (top, left), ceil_mode=True)
    if part(torch.zeros(operation.shapes[0])).shape != operation.shapes[-1]:
        beyond = (0, right - left, 0, bottom - top)
        return Function(
            lambda x: F.max_pool2d(F.pad(x, beyond, value=-torch.inf), kernel, stride, (top, left))
        )
    return part
