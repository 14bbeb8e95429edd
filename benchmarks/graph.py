"""A net as a plain list of operations, from which the peers' models are built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import caffe


@dataclass
class Operation:
    """One layer at TEST; every output has a name of its own, in-place layers' too.

    Attributes
    ----------
    type : str
        Caffe's name of the layer's type.
    param : LayerParameter
        The layer.
    inputs : list of str
        What it takes.
    output : str
        What it gives.
    shapes : list of tuple
        The shapes of the inputs and, last, of the output.
    arrays : list of numpy.ndarray
        Its parameters. Of BatchNorm: mean, variance, scale, bias, those of a Scale layer that
        follows included.
    """

    type: str
    param: Any
    inputs: list[str]
    output: str
    shapes: list[tuple[int, ...]]
    arrays: list[NDArray[np.float32]]


def operations(net: caffe.Net) -> tuple[list[Operation], str]:
    """The operations of a net in order, and the name of what the last one gives."""
    current = {name: name for name in net.inputs}
    found: list[Operation] = []
    for number, step in enumerate(net._steps):
        kind = step.layer.type
        inputs = [current[name] for name in step.bottom_names]
        if kind == "Input":
            continue
        if kind in ("Split", "Dropout"):
            current.update(dict.fromkeys(step.top_names, inputs[0]))
            continue
        (top,) = step.top_names
        arrays = [blob.data.copy() for blob in step.layer.blobs]
        output = f"{number}:{top}"
        if kind == "BatchNorm":
            mean, variance, factor = arrays
            arrays = [mean / factor, variance / factor]
            arrays += [np.ones_like(mean), np.zeros_like(mean)]
        if kind == "Scale":
            norm = found[-1]
            if norm.type != "BatchNorm" or [norm.output] != inputs:
                raise NotImplementedError(f"{top}: Scale without BatchNorm before it")
            norm.arrays[2:] = arrays
            norm.output = output
        else:
            shapes = [blob.shape for blob in (*step.bottoms, *step.tops)]
            found.append(Operation(kind, step.layer.layer_param, inputs, output, shapes, arrays))
        current[top] = output
    return found, current[net.outputs[0]]


def spatial(param: Any, name: str, default: int) -> tuple[int, int]:
    """A layer's kernel_size, pad, stride or dilation: down and across."""
    short = {"kernel_size": "kernel"}.get(name, name)
    if param.HasField(f"{short}_h") if f"{short}_h" in param.DESCRIPTOR.fields_by_name else False:
        return getattr(param, f"{short}_h"), getattr(param, f"{short}_w")
    values = getattr(param, name)
    if isinstance(values, int):
        return values, values
    return (values[0], values[-1]) if len(values) else (default, default)


def pooling(operation: Operation) -> tuple[tuple[int, int], tuple[int, int], list[int]]:
    """Kernel, stride and padding (top, left, bottom, right) that give Caffe's output size."""
    param = operation.param.pooling_param
    size, wanted = operation.shapes[0][2:], operation.shapes[-1][2:]
    kernel = size if param.global_pooling else spatial(param, "kernel_size", 1)
    stride, pad = spatial(param, "stride", 1), spatial(param, "pad", 0)
    # Caffe rounds the size up: the last window may reach over the far edge.
    after = [max(0, (wanted[i] - 1) * stride[i] + kernel[i] - size[i] - pad[i]) for i in range(2)]
    return (kernel[0], kernel[1]), stride, [*pad, *after]
