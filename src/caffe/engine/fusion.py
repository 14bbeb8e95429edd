"""Which of a net's layers a plan joins into one operation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..layers.activation import ReLU
from ..layers.convolution import Convolution, ConvolutionDepthwise, PaddedConvolution
from ..layers.dropout import Dropout
from ..layers.eltwise import Eltwise
from ..layers.inner_product import InnerProduct
from ..layers.input import Input
from ..memory.stores import Store
from ..proto.caffe_pb2 import EltwiseParameter
from .layerwise import Step
from .operations import (
    ConvolutionOperation,
    InnerProductOperation,
    LayerOperation,
    LRNOperation,
    MaxPoolOperation,
    Operation,
    PassOn,
    Rectify,
    SumOperation,
    activation,
)


def operations(
    steps: Sequence[Step], precision: torch.dtype, store: Store | None
) -> list[Operation]:
    """Turn the steps into operations, joining what belongs together."""
    result: list[Operation] = []
    fresh: set[int] = set()
    taken: set[int] = set()
    for i, step in enumerate(steps):
        layer = step.layer
        if (
            i in taken
            or not step.tops
            or layer.shares
            or layer.on_blobs
            or isinstance(layer, Input)
        ):
            continue
        operation = _operation(steps, i, result, fresh, taken, precision, store)
        if isinstance(operation, PassOn) and operation.reads == operation.writes:
            continue
        if operation.is_fresh:
            fresh.update(operation.writes)
        else:
            fresh.difference_update(operation.reads, operation.writes)
        result.append(operation)
    _allow_overwriting(result)
    return result


def _operation(
    steps: Sequence[Step],
    i: int,
    before: list[Operation],
    fresh: set[int],
    taken: set[int],
    precision: torch.dtype,
    store: Store | None,
) -> Operation:
    """Make the operation of step `i`, and note which steps behind it are `taken` along."""
    step, layer = steps[i], steps[i].layer
    if isinstance(layer, Dropout) and layer.param.scale_train:
        return PassOn(step, store)
    if type(layer) is ReLU and not layer.param.negative_slope and _may_change(step, fresh):
        return Rectify(step, store)
    if LRNOperation.suits(step, store):
        return LRNOperation(step, precision)
    if MaxPoolOperation.suits(step):
        return MaxPoolOperation(step, store)
    is_product = isinstance(layer, InnerProduct) and not layer.param.transpose
    if is_plain_convolution(step) or is_product:
        indices = _followers(steps, i, fold=not is_product)
        taken.update(indices)
        kind = InnerProductOperation if is_product else ConvolutionOperation
        return kind(step, [steps[j] for j in indices], precision, store)
    convolution = _summand(steps, step, before)
    if convolution is not None:
        before.remove(convolution)
        indices = [
            j
            for j in _followers(steps, i, fold=False)
            if activation(steps[j].layer) == ("relu", [])
        ]
        taken.update(indices)
        return SumOperation(step, convolution, [steps[j] for j in indices])
    return LayerOperation(step, precision, store)


def _summand(
    steps: Sequence[Step], step: Step, before: Sequence[Operation]
) -> ConvolutionOperation | None:
    """Find the convolution that makes one bottom of a plain sum, and may run together with it."""
    layer = step.layer
    if type(layer) is not Eltwise or layer.param.operation != EltwiseParameter.SUM:
        return None
    keys = [id(blob.memory) for blob in step.bottoms]
    if len(keys) != 2 or keys[0] == keys[1] or any(c != 1 for c in layer.param.coeff):
        return None
    for k in reversed(range(len(before))):
        operation = before[k]
        if not isinstance(operation, ConvolutionOperation) or operation.writes[0] not in keys:
            continue
        key = operation.writes[0]
        readers = sum(
            id(blob.memory) == key and blob not in reader.tops
            for reader in steps
            for blob in (reader.bottoms if not reader.layer.shares else ())
        )
        changed = {written for later in before[k + 1 :] for written in later.writes}
        if readers == 1 and operation.can_add and not changed.intersection([*operation.reads, key]):
            return operation
    return None


def _allow_overwriting(result: Sequence[Operation]) -> None:
    """Let a sum take the place of its other summand where nobody reads that any more."""
    fresh: set[int] = set()
    for i, operation in enumerate(result):
        if isinstance(operation, SumOperation):
            other = operation.reads[1]
            later = {key for following in result[i + 1 :] for key in following.reads}
            operation.may_overwrite = (
                other in fresh and other not in later and other != operation.reads[0]
            )
        if operation.is_fresh:
            fresh.update(operation.writes)
        else:
            fresh.difference_update(operation.reads, operation.writes)


def _may_change(step: Step, fresh: set[int]) -> bool:
    return step.tops[0] is step.bottoms[0] and id(step.tops[0].memory) in fresh


def is_plain_convolution(step: Step) -> bool:
    """Tell whether a step is a convolution of pictures as other libraries know it."""
    layer = step.layer
    if type(layer) not in (Convolution, ConvolutionDepthwise):
        return False
    assert isinstance(layer, Convolution)
    if len(step.bottoms) != 1 or layer.channel_axis != 1:
        return False
    if isinstance(layer, PaddedConvolution) and layer.is_lopsided:
        return False
    if len(layer.kernel) != 2:
        return False
    sizes = zip(
        step.bottoms[0].shape[2:], step.tops[0].shape[2:], layer.pad, layer.extent, layer.stride,
        strict=True,
    )  # fmt: skip
    return all((n + 2 * p - e) // s + 1 == out and n + 2 * p >= e for n, out, p, e, s in sizes)


def _followers(steps: Sequence[Step], start: int, fold: bool) -> list[int]:
    """Find the steps behind `start` that change its top in place, and can be joined with it."""
    memory = steps[start].tops[0].memory
    found: list[int] = []
    for j in range(start + 1, len(steps)):
        step = steps[j]
        touched = any(blob.memory is memory for blob in (*step.bottoms, *step.tops))
        if not touched:
            continue
        in_place = step.bottoms == step.tops and len(step.tops) == 1
        same_shape = in_place and step.tops[0].shape == steps[start].tops[0].shape
        layer = step.layer
        if not same_shape:
            break
        if isinstance(layer, Dropout) and layer.param.scale_train:
            continue
        if activation(layer) is not None:
            found.append(j)
            break
        if not (fold and layer.is_affine):
            break
        found.append(j)
    return found
