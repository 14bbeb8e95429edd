"""What differs between two nets, or between two weight files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ..errors import NetError
from ..graph import filter_layers
from ..guarded import guarded
from ..memory.blob import Shape
from ..paths import PathLike, is_path
from ..phases import TEST, TRAIN
from ..proto.caffe_pb2 import LayerParameter, NetParameter, NetState
from ..weights.files import read_weights
from ..weights.layer_weights import LayerWeights, WeightBlob
from .outline import outline
from .summary import Row, Summary, summarize

Pair = tuple[Any, Any]
"""What the first has and what the second has; None where it has nothing."""


@dataclass
class LayerDifference:
    """A layer that two nets both have, but not alike.

    Attributes
    ----------
    name, type : str
        The layer's; the type is the first net's.
    fields : dict of str to pair
        What the texts say, by the field's name.
    shapes : dict of str to pair
        Shapes of tops and parameters.
    """

    name: str
    type: str
    fields: dict[str, Pair] = field(default_factory=dict)
    shapes: dict[str, Pair] = field(default_factory=dict)


@dataclass
class NetDifference:
    """What differs between two nets.

    Attributes
    ----------
    fields : dict of str to pair
        Of the net itself, by the field's name.
    only_first, only_second : list of (str, str)
        Names and types of layers that only one has.
    layers : list of LayerDifference
        Layers that both have, but not alike.
    reordered : bool
        Whether layers that both have stand in another order.
    """

    fields: dict[str, Pair]
    only_first: list[tuple[str, str]]
    only_second: list[tuple[str, str]]
    layers: list[LayerDifference]
    reordered: bool

    def __bool__(self) -> bool:
        return bool(
            self.fields or self.only_first or self.only_second or self.layers or self.reordered
        )


@dataclass
class BlobDifference:
    """A parameter blob that two weight files both have.

    Attributes
    ----------
    layer : str
        The layer's name.
    blob : int
        Which of its parameters.
    shapes : pair of (tuple of int), or None
        Where only one file has the blob the other's is None.
    largest : float or None
        The largest difference between two numbers; None where the shapes differ, or where one
        of two numbers is not finite and the other is another.
    relative : float or None
        The same as a part of the largest number, without its sign, in either blob.
    """

    layer: str
    blob: int
    shapes: Pair
    largest: float | None
    relative: float | None


@dataclass
class WeightsDifference:
    """What differs between two weight files.

    Attributes
    ----------
    only_first, only_second : list of str
        Names of layers with parameters that only one has.
    blobs : list of BlobDifference
        Blobs that differ.
    equal : int
        How many blobs do not.
    """

    only_first: list[str]
    only_second: list[str]
    blobs: list[BlobDifference]
    equal: int

    def __bool__(self) -> bool:
        return bool(self.only_first or self.only_second or self.blobs)


@guarded
def compare_nets(
    first: NetParameter, second: NetParameter, run_python: bool = False
) -> NetDifference:
    """Find out what differs between two nets.

    Layers are matched by name, and by their include and exclude rules where a name stands more
    than once. What one text says and the other leaves to the default is a difference, because
    layers may tell the two apart. Batch sizes are compared where they are written alone: a
    change in the batch is no change in every blob.

    Parameters
    ----------
    first, second : NetParameter
        Both upgraded to the newest form.
    run_python : bool
        Import the modules that Python layers name, to know their shapes.
    """
    ours, theirs = (_one_input_each(net) for net in (first, second))
    pairs, only_first, only_second = _match(ours, theirs)
    shapes = _Shapes(first, second, run_python)
    layers = [
        LayerDifference(a.name, a.type, _differing_fields(a, b, ("blobs",)), shapes.of(a, b))
        for a, b in pairs
    ]
    order = {id(b): i for i, b in enumerate(theirs)}
    positions = [order[id(b)] for _, b in pairs]
    return NetDifference(
        _differing_fields(first, second, ("layer", "layers")),
        [(layer.name, layer.type) for layer in only_first],
        [(layer.name, layer.type) for layer in only_second],
        [layer for layer in layers if layer.fields or layer.shapes],
        any(i > j for i, j in pairwise(positions)),
    )


def _one_input_each(net: NetParameter) -> list[LayerParameter]:
    """The layers, with an Input layer for each input, called like it.

    An old text's inputs make a single layer, whose name says nothing.
    """
    layers: list[LayerParameter] = []
    for layer in net.layer:
        shapes = layer.input_param.shape
        if layer.type != "Input" or len(shapes) not in (0, 1, len(layer.top)):
            layers.append(layer)
            continue
        for i, top in enumerate(layer.top):
            one = LayerParameter()
            one.CopyFrom(layer)
            one.name, one.top[:] = top, [top]
            del one.input_param.shape[:]
            if shapes:
                one.input_param.shape.add().CopyFrom(shapes[i if len(shapes) > 1 else 0])
            layers.append(one)
    return layers


def _match(
    first: Iterable[LayerParameter], second: Iterable[LayerParameter]
) -> tuple[list[tuple[LayerParameter, LayerParameter]], list[LayerParameter], list[LayerParameter]]:
    """Pair the layers of equal names, those of equal rules before the others."""
    firsts, left = list(first), list(second)
    partner: dict[int, LayerParameter] = {}
    for same in (_have_same_rules, _have_same_name):
        for a in firsts:
            if id(a) in partner:
                continue
            b = next((b for b in left if same(a, b)), None)
            if b is not None:
                partner[id(a)] = b
                left = [other for other in left if other is not b]
    pairs = [(a, partner[id(a)]) for a in firsts if id(a) in partner]
    return pairs, [a for a in firsts if id(a) not in partner], left


def _have_same_name(a: LayerParameter, b: LayerParameter) -> bool:
    return a.name == b.name


def _have_same_rules(a: LayerParameter, b: LayerParameter) -> bool:
    return (
        a.name == b.name
        and list(a.include) == list(b.include)
        and list(a.exclude) == list(b.exclude)
    )


def _differing_fields(a: Message, b: Message, without: tuple[str, ...]) -> dict[str, Pair]:
    said = [dict(_fields(message, without)) for message in (a, b)]
    names = dict.fromkeys([*said[0], *said[1]])
    values = {name: (said[0].get(name), said[1].get(name)) for name in names}
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def _fields(message: Message, without: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the fields that are set, by their full names; a list's numbers together."""
    for descriptor, value in message.ListFields():
        name = descriptor.name
        if name in without:
            continue
        repeated = not isinstance(value, Message) and not isinstance(
            value, (bool, int, float, str, bytes)
        )
        if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for i, part in enumerate(value if repeated else [value]):
                prefix = f"{name}[{i}]" if repeated else name
                inner = dict(_fields(part))
                # That it is there may mean something, even if it is empty.
                yield from (
                    ((f"{prefix}.{k}", v) for k, v in inner.items()) if inner else [(prefix, {})]
                )
        else:
            shown = [_readable(descriptor, v) for v in (value if repeated else [value])]
            yield name, shown if repeated else shown[0]


def _readable(descriptor: FieldDescriptor, value: Any) -> Any:
    """A value that can be compared, printed and written as JSON."""
    if descriptor.enum_type is not None:
        known = descriptor.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if descriptor.type == FieldDescriptor.TYPE_FLOAT:
        # As it stands in the text, not as the nearest double.
        return float(f"{value:.7g}")
    return value


class _Shapes:
    """The shapes of two nets' layers, in the phases that both nets have."""

    def __init__(self, first: NetParameter, second: NetParameter, run_python: bool) -> None:
        self._summaries: dict[int, tuple[Summary, Summary]] = {}
        self._rows: dict[int, tuple[dict[str, Row], dict[str, Row]]] = {}
        for phase in (TEST, TRAIN):
            # Many have a source in one phase only.
            with suppress(NetError):
                a, b = (
                    summarize(outline(net, phase, run_python=run_python)) for net in (first, second)
                )
                self._summaries[phase] = (a, b)
                # The first of a name counts.
                x, y = ({row.name: row for row in reversed(one.rows)} for one in (a, b))
                self._rows[phase] = (x, y)

    def of(self, first: LayerParameter, second: LayerParameter) -> dict[str, Pair]:
        """What differs between a layer's shapes, in the first phase that has both."""
        for phase, summaries in self._summaries.items():
            state = NetState(phase=phase)  # type: ignore[arg-type]
            if not all(filter_layers([layer], state) for layer in (first, second)):
                continue
            rows = self._rows[phase]
            a, b = rows[0].get(first.name), rows[1].get(second.name)
            if a is not None and b is not None:
                return _compare_rows(a, summaries[0], b, summaries[1])
        return {}


def _compare_rows(row: Row, summary: Summary, other: Row, whole: Summary) -> dict[str, Pair]:
    shapes: dict[str, Pair] = {}
    for name, a, b in zip(row.tops, row.shapes, other.shapes, strict=False):
        if a is None or b is None:
            continue
        same = _per_item(a, summary.batch) == _per_item(b, whole.batch) if row.bottoms else a == b
        if not same:
            shapes[f"top {name}"] = (list(a), list(b))
    parameters = zip(row.parameter_shapes or (), other.parameter_shapes or (), strict=False)
    for i, (one, another) in enumerate(parameters):
        if one != another:
            shapes[f"parameter {i}"] = (list(one), list(another))
    return shapes


def _per_item(shape: Shape, batch: int | None) -> Shape:
    """The shape without the batch, where that is its first axis."""
    if shape and batch and shape[0] == batch:
        return (-1, *shape[1:])
    return shape


Weights = PathLike | Sequence[LayerWeights]
"""A weight file, or what one holds."""


@guarded
def compare_weights(
    first: Weights,
    second: Weights,
    tolerance: float = 0.0,
    advance: Callable[[], None] = lambda: None,
) -> WeightsDifference:
    """Find out what differs between two weight files, of whatever form and age.

    Parameters
    ----------
    first, second : path-like or sequence of LayerWeights
        .caffemodel, HDF5 or .safetensors files, or what these hold.
    tolerance : float
        The difference between two numbers that does not count.
    advance : callable
        Called after each layer.

    Raises
    ------
    ParseError
        A file cannot be read, or holds no weights.
    """
    ours, theirs = (
        {layer.name: layer for layer in reversed(layers_of(weights)) if layer.blobs}
        for weights in (first, second)
    )
    found = WeightsDifference(_missing(ours, theirs), _missing(theirs, ours), [], 0)
    for name in reversed(ours):
        if name in theirs:
            _compare_layers(ours[name], theirs[name], tolerance, found)
        advance()
    return found


def layers_of(weights: Weights) -> Sequence[LayerWeights]:
    """Return the layers of a weight file; those that are there already as they are."""
    return read_weights(weights) if is_path(weights) else weights


def _missing(layers: dict[str, LayerWeights], other: dict[str, LayerWeights]) -> list[str]:
    return [name for name in reversed(layers) if name not in other]


def _compare_layers(
    a: LayerWeights, b: LayerWeights, tolerance: float, found: WeightsDifference
) -> None:
    for i in range(max(len(a.blobs), len(b.blobs))):
        one, other = (layer.blobs[i] if i < len(layer.blobs) else None for layer in (a, b))
        if one is None and other is None:
            continue
        difference = _compare_blobs(a.name, i, one, other)
        if difference.largest is not None and difference.largest <= tolerance:
            found.equal += 1
        else:
            found.blobs.append(difference)


def _compare_blobs(
    layer: str, index: int, one: WeightBlob | None, other: WeightBlob | None
) -> BlobDifference:
    shapes = tuple(None if blob is None else list(blob.shape) for blob in (one, other))
    found = BlobDifference(layer, index, (shapes[0], shapes[1]), None, None)
    if one is None or other is None or _extents(one, other) != _extents(other, one):
        return found
    if not one.count:
        found.largest = found.relative = 0.0
        return found
    a, b = (blob.data.astype(np.float64) for blob in (one, other))
    # What is the same, not-a-numbers and infinities too, does not differ.
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        largest = float(np.abs(np.where(same, 0, a - b)).max())
    if math.isfinite(largest):
        sizes = np.abs(np.concatenate([a, b]))
        scale = float(sizes[np.isfinite(sizes)].max(initial=0))
        found.largest, found.relative = largest, largest / scale if scale else 0.0
    return found


def _extents(blob: WeightBlob, other: WeightBlob) -> Shape:
    """The shape; where old files gave all four axes, without the leading ones of 1."""
    shape = blob.shape
    while (blob.legacy or other.legacy) and shape[:1] == (1,):
        shape = shape[1:]
    return shape
