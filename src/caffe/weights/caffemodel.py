"""The binary form of weights: ``.caffemodel`` of any age, and ``.binaryproto`` blobs.

A .caffemodel is float32 runs inside protobuf framing. They are found, not parsed, and read when
they are wanted, so that loading costs one copy, from the file into the net. Of a layer only its
name, its type and its blobs are believed: the numbers of forks' other fields collide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from ..errors import ParseError
from ..proto import caffe_pb2, old_forms, upgrade_v0, upgrade_v1
from ..proto.contents import Content
from ..proto.old_forms import OldForm
from . import wire
from .layer_weights import LayerWeights, WeightBlob
from .wire import BYTES, VARINT, Span, WireError

# Caffe's limit on the number of a blob's axes.
_MAX_AXES = 32
_LEGACY_AXES = (1, 2, 3, 4)
_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF, _RAW_TYPE, _RAW_DATA = 5, 6, 7, 8, 9, 10, 12
_BLOB_WIRES = {
    **dict.fromkeys(_LEGACY_AXES, VARINT),
    **dict.fromkeys((_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF, _RAW_DATA), BYTES),
    _RAW_TYPE: VARINT,
}
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}
_HALF = 2
_INPUT = 3
_V1_DATA_PARAMS = {11: "Data", 15: "ImageData", 20: "WindowData"}
# scale, mean_file, crop_size and mirror in these.
_MOVED = frozenset((2, 3, 5, 6))
_NET_WIRES = {1: BYTES, 2: BYTES, 3: BYTES, 5: VARINT, 6: BYTES, 7: VARINT, 8: BYTES, 100: BYTES}


def read_layers(
    data: Content, source: str, forms: set[OldForm] | None = None
) -> Iterator[LayerWeights]:
    """Yield the layers of a V0, V1 or V2 net in file order, those without blobs too.

    Parameters
    ----------
    data : FileBytes or bytes
        The file's content, of which the blobs' values are read.
    source : str
        The file's name, for errors.
    forms : set of OldForm, optional
        Is given the old forms that the net has.

    Raises
    ------
    ParseError
        The content is damaged or no net, or a blob's values do not fill its shape.
    """
    try:
        yield from _read_net(wire.whole(data), source, set() if forms is None else forms)
    except WireError as error:
        raise ParseError(f"this is no .caffemodel, or a damaged one: {error}", source) from None


def read_blob(data: Content) -> WeightBlob:
    """Return the blob that is all of the content.

    Raises
    ------
    WireError
        The content holds no blob.
    """
    return _read_blob(wire.whole(data))


def write_net(
    stream: IO[Any],
    net_name: str,
    layers: Iterable[tuple[caffe_pb2.LayerParameter, Sequence[np.ndarray]]],
    diffs: Iterable[Sequence[np.ndarray]] | None = None,
    half: bool = False,
) -> None:
    """Write a V2 net; the arguments are those of `files.write_weights`."""
    name = net_name.encode()
    stream.write(wire.write_head(1, len(name)) + name)
    all_diffs = iter(diffs) if diffs is not None else None
    for layer, blobs in layers:
        gradients = next(all_diffs) if all_diffs is not None else [None] * len(blobs)
        before, after = _settings(layer)
        parts = [
            _blob_parts(np.asarray(blob, "<f4"), gradient, half)
            for blob, gradient in zip(blobs, gradients, strict=True)
        ]
        lengths = [sum(len(part) for part in blob) for blob in parts]
        heads = [wire.write_head(7, length) for length in lengths]
        total = len(before) + len(after) + sum(lengths) + sum(map(len, heads))
        stream.write(wire.write_head(100, total) + before)
        for head, blob in zip(heads, parts, strict=True):
            stream.write(head)
            for part in blob:
                stream.write(part)
        stream.write(after)


def _read_net(net: Span, source: str, forms: set[OldForm]) -> Iterator[LayerWeights]:
    names: dict[int, str] = {}
    for part in wire.fields(net):
        if _NET_WIRES.get(part.number, part.wire) != part.wire:
            raise WireError(
                f"field {part.number} is not what it is in a net (a solver state or a mean?)"
            )
        if part.number == _INPUT:
            forms.add(old_forms.INPUTS)
        if part.number not in (2, 100):
            continue
        layer, spans = _read_layer(part.value, part.number == 2, forms)
        names[part.number] = layer.name
        if len(names) == 2:
            raise ParseError(
                f"the net has both 'layers' (old form, {names[2]!r}) and 'layer' ({names[100]!r})",
                source,
            )
        for index, span in enumerate(spans):
            try:
                layer.blobs.append(_read_blob(span))
            except WireError as error:
                raise ParseError(f"layer {layer.name!r}, blob {index}: {error}", source) from None
        yield layer
    if not names:
        raise WireError("no layers are in it")


def _read_layer(message: Span, old: bool, forms: set[OldForm]) -> tuple[LayerWeights, list[Span]]:
    """A layer without its blobs, and these as they stand."""
    layer = LayerWeights("", "")
    spans = []
    settings = 0
    data_params = []
    name, kind, blobs = (4, 5, 6) if old else (1, 2, 7)
    wires = {name: BYTES, kind: VARINT if old else BYTES, blobs: BYTES}
    for part in wire.fields(message):
        if wires.get(part.number, part.wire) != part.wire:
            raise WireError(f"field {part.number} of layer {layer.name!r} is of another kind")
        if part.number == name:
            layer.name = part.value.text()
        elif part.number == kind:
            layer.type = upgrade_v1.layer_type(part.integer()) if old else part.value.text()
        elif part.number == blobs:
            spans.append(part.value)
        elif part.number == 6 and not old:
            settings += 1
        elif old and part.number == 1 and part.wire == BYTES:
            forms.add(old_forms.V0)
            spans += _read_v0_layer(part.value, layer)
        elif old and part.number in _V1_DATA_PARAMS and part.wire == BYTES:
            data_params.append((_V1_DATA_PARAMS[part.number], part.value))
    if old:
        forms.add(old_forms.V1)
    if layer.type == "BatchNorm" and settings == 3:
        forms.add(old_forms.BATCH_NORMS)
    if any(layer.type == owner and _is_among(value, _MOVED) for owner, value in data_params):
        forms.add(old_forms.TRANSFORMATIONS)
    return layer, spans


def _is_among(message: Span, numbers: frozenset[int]) -> bool:
    """Whether a message has one of these fields."""
    return any(part.number in numbers for part in wire.fields(message))


def _read_v0_layer(message: Span, layer: LayerWeights) -> list[Span]:
    spans = []
    for part in wire.fields(message):
        if part.number in (1, 2, 50) and part.wire != BYTES:
            raise WireError(f"field {part.number} of layer {layer.name!r} is of another kind")
        if part.number == 1:
            layer.name = part.value.text()
        elif part.number == 2:
            old = part.value.text()
            layer.type = upgrade_v1.LAYER_TYPES.get(upgrade_v0.LAYER_TYPES.get(old, ""), old)
        elif part.number == 50:
            spans.append(part.value)
    return spans


def _read_blob(message: Span) -> WeightBlob:
    axes = dict.fromkeys(_LEGACY_AXES, 0)
    legacy = False
    shape: list[int] = []
    raw_type = 0
    values: dict[int, list[Span]] = {}
    for part in wire.fields(message):
        if _BLOB_WIRES.get(part.number, part.wire) != part.wire:
            raise WireError(f"field {part.number} is not what it is in a blob")
        if part.number in axes:
            axes[part.number] = part.integer()
            legacy = True
        elif part.number == _SHAPE:
            shape += _read_shape(part.value)
        elif part.number == _RAW_TYPE:
            raw_type = part.integer()
        elif part.number in _BLOB_WIRES and len(part.value):
            values.setdefault(part.number, []).append(part.value)
    extents = tuple(axes.values()) if legacy else tuple(shape)
    # Even of a blob of nothing NumPy wants the other extents to make a number.
    most = math.prod(extent for extent in extents[: _MAX_AXES + 1] if extent)
    if len(extents) > _MAX_AXES or any(extent < 0 for extent in extents) or most >= 2**48:
        raise WireError(f"its shape {_shown(extents)} is impossible")
    if raw_type not in _RAW_TYPES and _RAW_DATA in values:
        raise WireError(f"its values are of the unknown type {raw_type}")
    kinds = {_DOUBLE_DATA: "<f8", _DATA: "<f4", _RAW_DATA: _RAW_TYPES.get(raw_type, "")}
    data = _Stored(values, kinds)
    diff = _Stored(values, {_DOUBLE_DIFF: "<f8", _DIFF: "<f4"})
    for what, array in (("values", data), ("gradients", diff)):
        if array.count != math.prod(extents) and (what == "values" or array.count):
            raise WireError(f"its shape {_shown(extents)} is not that of {array.count} {what}")
    return WeightBlob(extents, data.read, legacy, diff.read if diff.count else None)


def _read_shape(message: Span) -> list[int]:
    extents = []
    for part in wire.fields(message):
        if part.number != 1:
            continue
        if part.wire == VARINT:
            extents.append(part.integer())
            continue
        at = part.value.start
        while at < part.value.end and len(extents) <= _MAX_AXES:
            extent, at = wire.read_varint(message.data, at, part.value.end)
            extents.append(extent - (1 << 64) if extent >> 63 else extent)
    return extents


class _Stored:
    """Values where they stand.

    Parameters
    ----------
    values : dict
        The stretches of each field of the blob.
    kinds : dict
        The fields that may hold them, and their types; the first that is there counts.
    """

    def __init__(self, values: dict[int, list[Span]], kinds: dict[int, str]) -> None:
        number, self._dtype = next(
            (kind for kind in kinds.items() if kind[0] in values), (0, "<f4")
        )
        self._spans = values.get(number, [])
        self.count = sum(span.count(self._dtype) for span in self._spans)

    def read(self) -> np.ndarray:
        """The values as float32."""
        arrays = [span.array(self._dtype) for span in self._spans] or [np.empty(0, "<f4")]
        joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        with np.errstate(over="ignore"):
            return joined.astype(np.float32, copy=False)


def _shown(extents: tuple[int, ...]) -> str:
    if len(extents) > _MAX_AXES:
        return f"of more than {_MAX_AXES} axes"
    return " ".join(map(str, extents)) or "of no axes"


def _settings(layer: caffe_pb2.LayerParameter) -> tuple[bytes, bytes]:
    """A layer's serialized fields that come before its blobs, and those that come behind."""
    data = layer.SerializePartialToString(deterministic=True)
    before, behind = bytearray(), bytearray()
    start = 0
    for part in wire.fields(wire.whole(data)):
        if part.number != 7:
            target = before if part.number < 7 else behind
            target += data[start : part.end]
        start = part.end
    return bytes(before), bytes(behind)


def _blob_parts(blob: np.ndarray, diff: np.ndarray | None, half: bool) -> list[bytes | np.ndarray]:
    """A BlobProto in pieces, its values not copied unless they are made half as long."""
    parts: list[bytes | np.ndarray] = []
    if half and blob.size:
        short = np.ascontiguousarray(blob, _RAW_TYPES[_HALF]).reshape(-1)
        parts.append(wire.write_varint(_RAW_TYPE << 3 | VARINT) + wire.write_varint(_HALF))
        parts += [wire.write_head(_RAW_DATA, short.nbytes), short.view(np.uint8)]
    for number, array in ((_DATA, None if half else blob), (_DIFF, diff)):
        if array is not None and array.size:
            flat = np.ascontiguousarray(array, "<f4").reshape(-1)
            parts += [wire.write_head(number, flat.nbytes), flat.view(np.uint8)]
    if blob.ndim:
        extents = b"".join(map(wire.write_varint, blob.shape))
        shape = wire.write_head(1, len(extents)) + extents
        parts.append(wire.write_head(_SHAPE, len(shape)) + shape)
    return parts
