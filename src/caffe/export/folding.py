"""Factors and summands of channels taken into the weights before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engine.steps import Step
from ..guarded import guarded
from ..layers.convolution import (
    Convolution,
    ConvolutionDepthwise,
    Deconvolution,
    Kernels,
    PaddedConvolution,
)
from ..layers.inner_product import InnerProduct
from ..layers.layer import Layer
from ..layers.volumes import Convolution3D, Deconvolution3D
from ..net.net import Net, checked_net
from ..proto.caffe_pb2 import LayerParameter, NetParameter

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTED = frozenset(
    kind.computes_as
    for kind in (
        *(Convolution, PaddedConvolution, ConvolutionDepthwise, Convolution3D),
        *(Deconvolution, Deconvolution3D, InnerProduct),
    )
)


@dataclass
class _Part:
    """A layer of the new net: its text, and its parameters."""

    param: LayerParameter
    values: list[Tensor]
    step: Step
    key: int = 0
    """Which writing of a blob is its last: those of the layers taken in count as its own."""


@guarded
def folded(net: Net) -> Net:
    """Return the net with its BatchNorm, Scale and Bias layers taken into the weights before them.

    That is done behind a Convolution, Deconvolution or InnerProduct whose top nobody else reads;
    others stay. The net itself stays as it is; layers of its phase alone are in the new one.

    Returns
    -------
    Net
        Of the same phase; `net.inside` holds its text.
    """
    parts = [_part(step) for step in checked_net(net).inside.steps]
    _without_splits(parts)
    shared = {
        id(blob)
        for step in net.inside.steps
        for blob, spec in zip(step.layer.blobs, step.node.param.param, strict=False)
        if spec.name
    }
    kept: list[_Part] = []
    last_writer: dict[str, _Part] = {}
    readers = _readers(parts)
    for part in parts:
        maker = part
        before = last_writer.get(part.param.bottom[0]) if len(part.param.bottom) == 1 else None
        if before is not None and _folds(before, part, readers, shared):
            _fold(before, part)
            maker = before
        else:
            kept.append(part)
        last_writer.update(dict.fromkeys(part.param.top, maker))
    return _net(net, kept)


def _part(step: Step) -> _Part:
    param = LayerParameter()
    param.CopyFrom(step.node.param)
    for name in ("include", "exclude", "blobs", "phase"):
        param.ClearField(name)
    return _Part(param, [blob.data_tensor() for blob in step.layer.blobs], step)


def _without_splits(parts: list[_Part]) -> None:
    """Take away the layers that the net has put in where a blob has several readers."""
    names = {}
    for part in list(parts):
        if part.param.type == "Split" and part.param.name.endswith("_split"):
            names.update(dict.fromkeys(part.param.top, part.param.bottom[0]))
            parts.remove(part)
            continue
        for i, bottom in enumerate(part.param.bottom):
            part.param.bottom[i] = names.get(bottom, bottom)


def _readers(parts: list[_Part]) -> Counter[int]:
    """How many layers read what each part, by its key, has written."""
    writer: dict[str, int] = {}
    count: Counter[int] = Counter()
    for key, part in enumerate(parts):
        part.key = key
        count.update(writer[bottom] for bottom in part.param.bottom)
        writer.update(dict.fromkeys(part.param.top, key))
    return count


def _folds(before: _Part, part: _Part, readers: Counter[int], shared: set[int]) -> bool:
    layer, first = part.step.layer, before.step.layer
    if type(first).computes_as not in WEIGHTED or first.is_patched or layer.is_patched:
        return False
    if not layer.is_affine or len(part.param.top) != 1 or len(before.param.top) != 1:
        return False
    if any(id(blob) in shared for blob in (*first.blobs, *layer.blobs)):
        return False
    if isinstance(first, Kernels) and first.channel_axis != 1:
        return False
    if isinstance(first, InnerProduct) and first.first_axis != 1:
        return False
    return readers[before.key] == 1


def _fold(before: _Part, part: _Part) -> None:
    layer, first = part.step.layer, before.step.layer
    factor, summand = layer.affine(*part.values)
    weight = before.values[0]
    bias = before.values[1] if len(before.values) > 1 else None
    if factor is not None:
        weight = _scaled(first, weight, factor)
        bias = None if bias is None else bias * factor
    if summand is not None:
        bias = summand.clone() if bias is None else bias + summand
    if bias is not None and len(before.values) < 2:
        message = before.param
        settings = getattr(message, str(first.message))
        settings.bias_term = True
    before.values = [weight] if bias is None else [weight, bias]
    before.param.top[0] = part.param.top[0]
    before.key = part.key


def _scaled(layer: Layer, weight: Tensor, factor: Tensor) -> Tensor:
    """Weights times a factor for each channel of the top."""
    factor = factor.reshape(-1)
    if isinstance(layer, Deconvolution):
        group = layer.param.group
        rows = weight.reshape(group, -1, *weight.shape[1:])
        spread = factor.view(group, 1, -1, *[1] * (weight.dim() - 2))
        return (rows * spread).reshape(weight.shape)
    if isinstance(layer, InnerProduct) and layer.param.transpose:
        return weight * factor
    return weight * factor.view(-1, *[1] * (weight.dim() - 1))


def _net(net: Net, parts: list[_Part]) -> Net:
    param = NetParameter(name=net.name)
    param.layer.extend(part.param for part in parts)
    made = Net(param, net.inside.steps[0].layer.phase if net.inside.steps else 1)
    by_name = {part.param.name: part for part in parts}
    for step in made.inside.steps:
        part = by_name.get(step.layer.name)
        for blob, value in zip(step.layer.blobs, part.values if part else (), strict=False):
            blob.put_data(value.clone().reshape(blob.shape))
    return made
