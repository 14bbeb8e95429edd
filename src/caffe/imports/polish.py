"""The net that rules have made brought into the form that people write: nothing that nobody reads,
summands in the weights before them, activations in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..proto.caffe_pb2 import LayerParameter, PowerParameter
from .caffe_graph import Array, Blob, CaffeGraph, Value, Written
from .operators.product import matrix_applied

IN_PLACE = frozenset({"ReLU", "PReLU", "ELU", "ReLU6", "BatchNorm", "Scale", "Bias", "Power"})
"""What runs in place by custom, and needs not its bottom again."""

WEIGHTED = frozenset({"Convolution", "Deconvolution", "InnerProduct"})


def polished(graph: CaffeGraph, outputs: list[Blob], fold: bool) -> list[Written]:
    """Return the net's layers in order; `outputs` are those of the net, and are told apart.

    Parameters
    ----------
    graph : CaffeGraph
        What rules have written.
    outputs : list of Blob
        The net's outputs; where one is an input, or stands there twice, it is made anew.
    fold : bool
        Take factors into weights, too, not summands alone.
    """
    _tell_apart(graph, outputs)
    layers = _needed(graph.layers, outputs)
    layers = _folded(layers, outputs, fold)
    layers = _reshaped_once(layers, outputs)
    layers = _without_flattening(layers, outputs)
    if not graph.target.keeps_flat:
        _flatten_by_shape(layers)
    layers = _without_rests(graph, layers, outputs)
    _put_in_place(layers, outputs)
    return layers


def _tell_apart(graph: CaffeGraph, outputs: list[Blob]) -> None:
    """Make outputs anew that are inputs, stand there twice, or are read by layers.

    Of a net in Caffe those blobs are outputs that nobody reads; for some readers those alone that
    are a layer's only top.
    """
    layers = _needed(graph.layers, outputs)
    read = {id(blob) for layer in layers for blob in layer.bottoms}
    given = {id(blob) for blob in _inputs(layers)}
    twice = {key for key, count in Counter(map(id, outputs)).items() if count > 1}
    parts = {id(blob) for layer in layers if len(layer.tops) > 1 for blob in layer.tops}
    anew = read | given | twice | (parts if graph.target.drops_rests else set())
    for i, blob in enumerate(outputs):
        if id(blob) in anew:
            dims = {"shape": {"dim": [0, *blob.shape[1:]]}}
            outputs[i] = graph.layer("Reshape", blob, reshape_param=dims).blob


def _needed(layers: Sequence[Written], outputs: Sequence[Blob]) -> list[Written]:
    needed = set(map(id, outputs))
    kept = []
    for layer in reversed(layers):
        if layer.param.type == "Input" or not needed.isdisjoint(map(id, layer.tops)):
            kept.append(layer)
            needed.update(map(id, layer.bottoms))
    return kept[::-1]


def _readers(layers: Sequence[Written], outputs: Sequence[Blob]) -> Counter[int]:
    count = Counter(map(id, outputs))
    for layer in layers:
        count.update(map(id, layer.bottoms))
    return count


def _affine(layer: Written) -> tuple[Array, Array] | None:
    """The factor and summand of each channel, or of all, in double precision."""
    kind, arrays = layer.param.type, [np.asarray(a, np.float64) for a in layer.arrays]
    if len(layer.bottoms) != 1:
        return None
    if kind == "Power":
        power = layer.param.power_param
        if power.power != 1:
            return None
        return np.asarray(float(power.scale)), np.asarray(float(power.shift))
    if kind == "BatchNorm":
        factor = 1 / np.sqrt(arrays[1] + layer.param.batch_norm_param.eps)
        return factor, -arrays[0] * factor
    if kind in ("Scale", "Bias"):
        param = layer.param.scale_param if kind == "Scale" else layer.param.bias_param
        if param.axis != 1 or param.num_axes != 1:
            return None
        if kind == "Bias":
            return np.asarray(1.0), arrays[0]
        return arrays[0], arrays[1] if len(arrays) > 1 else np.asarray(0.0)
    return None


def _folded(layers: list[Written], outputs: Sequence[Blob], fold: bool) -> list[Written]:
    """Take layers into the one before them, where nobody else reads what that one makes."""
    readers = _readers(layers, outputs)
    maker = {id(blob): layer for layer in layers for blob in layer.tops}
    kept = []
    for layer in layers:
        before = maker.get(id(layer.bottoms[0])) if len(layer.bottoms) == 1 else None
        alone = before is not None and readers[id(layer.bottoms[0])] == 1
        if before is None or not alone or not _taken_in(before, layer, fold):
            kept.append(layer)
            continue
        before.tops = layer.tops
        if layer.is_named and not before.is_named:
            before.hint, before.is_named = layer.hint, True
        maker[id(layer.tops[0])] = before
    return kept


def _taken_in(before: Written, layer: Written, fold: bool) -> bool:
    """Let a layer do what the one behind it does, too; False where it cannot."""
    kinds = before.param.type, layer.param.type
    if kinds == ("Power", "Power"):
        first, second = before.param.power_param, layer.param.power_param
        if first.power != 1:
            return False
        scale, shift = first.scale * second.scale, second.shift + second.scale * first.shift
        first.CopyFrom(PowerParameter(power=second.power, scale=scale, shift=shift))
        for name, default in (("power", 1), ("scale", 1), ("shift", 0)):
            if getattr(first, name) == default:
                first.ClearField(name)
        return True
    if kinds == ("Scale", "Bias"):
        scale_param, bias_param = before.param.scale_param, layer.param.bias_param
        same = all(getattr(scale_param, n) == getattr(bias_param, n) for n in ("axis", "num_axes"))
        if not same or len(before.arrays) != 1 or len(before.bottoms) != 1:
            return False
        scale_param.bias_term = True
        before.arrays = [*before.arrays, *layer.arrays]
        return True
    if kinds == ("Scale", "Scale"):
        return _scaled_once(before, layer)
    affine = _affine(layer)
    if affine is None or before.param.type not in WEIGHTED:
        return False
    if not fold and (len(before.arrays) != 1 or not np.all(affine[0] == 1)):
        return False
    if kinds[0] == "InnerProduct" and before.param.inner_product_param.axis != 1:
        return False
    _put_into_weights(before, *affine)
    return True


def _scaled_once(before: Written, layer: Written) -> bool:
    """Let a Scale do what the one behind it does, too; False where they are not alike."""
    first, second = before.param.scale_param, layer.param.scale_param
    same = (first.axis, first.num_axes) == (second.axis, second.num_axes)
    if not same or len(before.bottoms) != 1 or len(layer.bottoms) != 1:
        return False
    factor, *summand = before.arrays
    times, *plus = layer.arrays
    if factor.shape != times.shape:
        return False
    before.arrays = [factor * times]
    if summand or plus:
        zero = np.zeros_like(factor)
        before.arrays.append((summand or [zero])[0] * times + (plus or [zero])[0])
        first.bias_term = True
    return True


def _put_into_weights(layer: Written, factor: Array, summand: Array) -> None:
    weight = layer.arrays[0].astype(np.float64)
    kind = layer.param.type
    outputs = layer.tops[0].shape[1]
    factor, summand = np.broadcast_to(factor, outputs), np.broadcast_to(summand, outputs)
    if kind == "Deconvolution":
        group = layer.param.convolution_param.group
        rows = weight.reshape(group, -1, *weight.shape[1:])
        weight = (rows * factor.reshape(group, 1, -1, 1, 1)).reshape(weight.shape)
    else:
        weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    bias = layer.arrays[1] * factor if len(layer.arrays) > 1 else 0
    bias = bias + summand
    name = "inner_product_param" if kind == "InnerProduct" else "convolution_param"
    getattr(layer.param, name).ClearField("bias_term")
    layer.arrays = [np.asarray(a, np.float32) for a in (weight, bias)]


def _reshaped_once(layers: list[Written], outputs: Sequence[Blob]) -> list[Written]:
    """Of shapes that follow each other only the last one counts."""
    maker = {id(blob): layer for layer in layers for blob in layer.tops}
    for layer in layers:
        before = maker.get(id(layer.bottoms[0])) if layer.param.type == "Reshape" else None
        if before is not None and before.param.type in ("Reshape", "Flatten"):
            layer.bottoms = list(before.bottoms)
            dims = layer.param.reshape_param.shape.dim
            # A 0 that stands for the bottom's own length stands for another bottom's now.
            dims[:] = [n or layer.tops[0].shape[i] for i, n in enumerate(dims)]
            if dims and dims[0] == layer.bottoms[0].shape[0]:
                dims[0] = 0
    return _needed(layers, outputs)


def _without_flattening(layers: list[Written], outputs: Sequence[Blob]) -> list[Written]:
    """InnerProduct takes its bottom flat anyway."""
    readers = _readers(layers, outputs)
    reader = {id(blob): layer for layer in layers for blob in layer.bottoms}
    kept = []
    for layer in layers:
        behind = reader.get(id(layer.tops[0]))
        if (
            layer.param.type == "Flatten"
            and not layer.param.flatten_param.HasField("axis")
            and not layer.param.flatten_param.HasField("end_axis")
            and readers[id(layer.tops[0])] == 1
            and behind is not None
            and behind.param.type == "InnerProduct"
            and behind.param.inner_product_param.axis == 1
        ):
            behind.bottoms = list(layer.bottoms)
            reader[id(layer.bottoms[0])] = behind
            continue
        kept.append(layer)
    return kept


def _flatten_by_shape(layers: Sequence[Written]) -> None:
    for layer in layers:
        if layer.param.type == "Flatten":
            layer.param.CopyFrom(LayerParameter(type="Reshape"))
            layer.param.reshape_param.shape.dim[:] = [0, -1]


def _without_rests(
    graph: CaffeGraph, layers: list[Written], outputs: Sequence[Blob]
) -> list[Written]:
    """Let no part of a Slice that nobody reads be an output of the net."""
    readers = _readers(layers, outputs)
    rests = [blob for layer in layers for blob in layer.tops if not readers[id(blob)]]
    rests = [blob for blob in rests if blob not in _inputs(layers)]
    if not rests:
        return layers
    if graph.target.drops_rests:
        return layers
    if graph.target.knows("Silence"):
        graph.many("Silence", 0, *rests)
        return [*layers, graph.layers[-1]]
    kept = []
    for layer in layers:
        if any(blob in rests for blob in layer.tops):
            kept += _picked_apart(graph, layer, rests)
        else:
            kept.append(layer)
    return kept


def _picked_apart(graph: CaffeGraph, layer: Written, rests: Sequence[Blob]) -> list[Written]:
    """A Slice as products with matrices of ones and zeros, one for each part that is read."""
    param, bottom = layer.param.slice_param, layer.bottoms[0]
    count = bottom.shape[param.axis]
    ends = [*param.slice_point, count]
    made = []
    for top, start, end in zip(layer.tops, [0, *ends], ends, strict=False):
        if top in rests:
            continue
        before = len(graph.layers)
        matrix_applied(graph, Value(bottom), param.axis, np.eye(count)[start:end])
        made += graph.layers[before:]
        made[-1].tops = [top]
        made[-1].hint = layer.hint
    return made


def _inputs(layers: Sequence[Written]) -> list[Blob]:
    return [layer.tops[0] for layer in layers if layer.param.type == "Input"]


def _put_in_place(layers: Sequence[Written], outputs: Sequence[Blob]) -> None:
    readers = _readers(layers, outputs)
    kept = {id(blob) for blob in (*outputs, *_inputs(layers))}
    now: dict[int, Blob] = {}
    for layer in layers:
        layer.bottoms = [now.get(id(blob), blob) for blob in layer.bottoms]
        first = layer.bottoms[0] if layer.bottoms else None
        if (
            first is not None
            and layer.param.type in IN_PLACE
            and len(layer.bottoms) == 1
            and readers[id(first)] == 1
            and id(first) not in kept
            and id(layer.tops[0]) not in kept
        ):
            top = layer.tops[0]
            now[id(top)] = first
            readers[id(first)] = readers[id(top)]
            layer.tops = [first]
