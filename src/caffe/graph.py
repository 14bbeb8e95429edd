"""The net as pure data: filtered by phase, splits inserted, bottoms and tops connected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .errors import NetError, did_you_mean
from .proto.caffe_pb2 import LayerParameter, NetParameter, NetState, NetStateRule

TopIndex = tuple[int, int]
"""A top, as (layer index, top index)."""


@dataclass
class Node:
    """One layer of the graph.

    Attributes
    ----------
    param : LayerParameter
        The layer's description, its phase set.
    bottoms, tops : list of int
        Indices into the graph's blobs.
    learns : list of bool
        For each parameter blob, whether its learning rate multiplier is not 0.
    loss_weights : list of float
        For each top, what it adds to the loss.
    bottom_need_backward : list of bool
        For each bottom, whether the backward pass owes it a gradient.
    param_need_backward : list of bool
        For each parameter blob, whether the backward pass owes it a gradient.
    need_backward : bool
        Whether the backward pass visits the layer at all.
    """

    param: LayerParameter
    bottoms: list[int] = field(default_factory=list)
    tops: list[int] = field(default_factory=list)
    learns: list[bool] = field(default_factory=list)
    loss_weights: list[float] = field(default_factory=list)
    bottom_need_backward: list[bool] = field(default_factory=list)
    param_need_backward: list[bool] = field(default_factory=list)
    need_backward: bool = False

    @property
    def label(self) -> str:
        """How errors name the layer."""
        return f"layer '{self.param.name}' ({self.param.type})"


@dataclass
class Graph:
    """Layers in running order, and the blobs between them by index."""

    name: str
    nodes: list[Node]
    blob_names: list[str]
    inputs: list[int]
    outputs: list[int]

    def add_automatic_tops(self, least: Sequence[int]) -> None:
        """Give each layer nameless tops until it has as many as `least` says (losses: one).

        They stand among the blobs where their layers' own tops would; the others move on.
        """
        names: list[str] = []
        moved: dict[int, int] = {}
        for node, count in zip(self.nodes, least, strict=True):
            for top in node.tops:
                if top not in moved:
                    moved[top] = len(names)
                    names.append(self.blob_names[top])
            node.bottoms = [moved[bottom] for bottom in node.bottoms]
            node.tops = [moved[top] for top in node.tops]
            while len(node.tops) < count:
                node.tops.append(len(names))
                names.append("(automatic)")
        self.inputs = [moved[blob] for blob in self.inputs]
        self.outputs = [moved[blob] for blob in self.outputs]
        self.blob_names = names


def build_graph(
    net: NetParameter, phase: int, level: int | None = 0, stages: Iterable[str] = ()
) -> Graph:
    """Connect the layers that `net` has in this phase, level and stages.

    Parameters
    ----------
    net : NetParameter
        Upgraded to the newest form; left as it is.
    phase : int
        caffe.TRAIN or caffe.TEST.
    level : int, optional
        For `min_level` and `max_level` rules; None for the one that the text itself gives.
    stages : iterable of str
        For `stage` and `not_stage` rules, beside those that the text itself gives.

    Raises
    ------
    NetError
        A layer has include and exclude rules both, reads a blob that no earlier layer makes,
        or makes one that is there already.
    """
    state = state_of(net, phase, level, stages)
    layers = insert_splits(filter_layers(net.layer, state))
    for layer in layers:
        if not layer.HasField("phase"):
            layer.phase = phase  # type: ignore[assignment]
    return connect(net.name, layers)


def state_of(net: NetParameter, phase: int, level: int | None, stages: Iterable[str]) -> NetState:
    """Return what layers' rules are held against; the arguments are those of `build_graph`."""
    state = NetState()
    state.CopyFrom(net.state)
    state.phase = phase  # type: ignore[assignment]
    if level is not None:
        state.level = level
    state.stage.extend(stages)
    return state


def filter_layers(layers: Iterable[LayerParameter], state: NetState) -> list[LayerParameter]:
    """Return copies of the layers whose include and exclude rules admit `state`."""
    kept = []
    for layer in layers:
        if layer.include and layer.exclude:
            raise NetError(
                f"layer '{layer.name}' ({layer.type}): give include or exclude rules, not both",
                word=layer.name,
            )
        if layer.include:
            included = any(meets(state, rule) for rule in layer.include)
        else:
            included = not any(meets(state, rule) for rule in layer.exclude)
        if included:
            copy = LayerParameter()
            copy.CopyFrom(layer)
            kept.append(copy)
    return kept


def meets(state: NetState, rule: NetStateRule) -> bool:
    """Tell whether every condition that `rule` sets holds in `state`."""
    return unmet(state, rule) is None


def unmet(state: NetState, rule: NetStateRule) -> str | None:
    """Return the first condition of `rule` that does not hold, in the original's words."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return f"The NetState phase ({state.phase}) differed from the phase ({rule.phase})"
    level = f"The NetState level ({state.level}) is above the"
    if rule.HasField("min_level") and state.level < rule.min_level:
        return f"{level} min_level ({rule.min_level})"
    if rule.HasField("max_level") and state.level > rule.max_level:
        return f"{level} max_level ({rule.max_level})"
    for stage in rule.stage:
        if stage not in state.stage:
            return f"The NetState did not contain stage '{stage}'"
    for stage in rule.not_stage:
        if stage in state.stage:
            return f"The NetState contained a not_stage '{stage}'"
    return None


def insert_splits(layers: Sequence[LayerParameter]) -> list[LayerParameter]:
    """Put a Split layer behind each top that is read more than once.

    A top's use as a loss counts as a reader. Names are Caffe's:
    ``<blob>_<layer>_<top index>_split`` and, for its tops, ``..._split_<k>``.
    """
    sources, readers, weights = _count_readers(layers)
    handed_out: Counter[TopIndex] = Counter()
    result = []
    for i, layer in enumerate(layers):
        for j, bottom in enumerate(layer.bottom):
            source = sources[i, j]
            if readers[source] > 1:
                maker = layers[source[0]].name
                layer.bottom[j] = _split_name(maker, bottom, source[1], handed_out[source])
                handed_out[source] += 1
        result.append(layer)
        for j, top in enumerate(layer.top):
            if readers[i, j] > 1:
                result.append(_split_layer(layer.name, top, j, readers[i, j], weights.get((i, j))))
                if (i, j) in weights:
                    del layer.loss_weight[:]
                    handed_out[i, j] += 1
    return result


def _count_readers(
    layers: Sequence[LayerParameter],
) -> tuple[dict[tuple[int, int], TopIndex], Counter[TopIndex], dict[TopIndex, float]]:
    """Find for each bottom the top it reads, for each top how many read it, and its loss weight."""
    last_maker: dict[str, TopIndex] = {}
    sources: dict[tuple[int, int], TopIndex] = {}
    readers: Counter[TopIndex] = Counter()
    weights: dict[TopIndex, float] = {}
    for i, layer in enumerate(layers):
        for j, bottom in enumerate(layer.bottom):
            if bottom not in last_maker:
                raise _unknown_bottom(layer, j, last_maker)
            sources[i, j] = last_maker[bottom]
            readers[sources[i, j]] += 1
        for j, top in enumerate(layer.top):
            last_maker[top] = (i, j)
        for weight, top in zip(layer.loss_weight, layer.top, strict=False):
            if weight:
                weights[last_maker[top]] = weight
                readers[last_maker[top]] += 1
    return sources, readers, weights


def _unknown_bottom(layer: LayerParameter, index: int, known: Iterable[str]) -> NetError:
    bottom = layer.bottom[index]
    hint = did_you_mean(bottom, known)
    return NetError(
        f"layer '{layer.name}' ({layer.type}): bottom {index}, '{bottom}', "
        f"is made by no layer before it{hint and '; '}{hint}",
        word=layer.name,
    )


def _split_name(layer: str, blob: str, top: int, k: int | None = None) -> str:
    name = f"{blob}_{layer}_{top}_split"
    return name if k is None else f"{name}_{k}"


def _split_layer(
    layer: str, blob: str, top: int, count: int, loss_weight: float | None
) -> LayerParameter:
    split = LayerParameter(name=_split_name(layer, blob, top), type="Split", bottom=[blob])
    split.top.extend(_split_name(layer, blob, top, k) for k in range(count))
    if loss_weight is not None:
        split.loss_weight.extend([loss_weight] + [0.0] * (count - 1))
    return split


def connect(name: str, layers: Iterable[LayerParameter]) -> Graph:
    """Number the blobs and tie each layer to its bottoms and tops.

    The net's outputs are the tops that nobody reads, in alphabetical order as in Caffe.
    """
    graph = Graph(name, [], [], [], [])
    index: dict[str, int] = {}
    unread: set[str] = set()
    for layer in layers:
        node = Node(layer)
        for j, bottom in enumerate(layer.bottom):
            if bottom not in unread:
                raise _unknown_bottom(layer, j, index)
            unread.discard(bottom)
            node.bottoms.append(index[bottom])
        for j, top in enumerate(layer.top):
            in_place = j < len(layer.bottom) and layer.bottom[j] == top
            if top in index and not in_place:
                raise NetError(
                    f"{node.label}: top {j}, '{top}', is already made by an earlier layer",
                    word=layer.name,
                )
            if not in_place:
                index[top] = len(graph.blob_names)
                graph.blob_names.append(top)
                if layer.type == "Input":
                    graph.inputs.append(index[top])
            unread.add(top)
            node.tops.append(index[top])
        graph.nodes.append(node)
    graph.outputs = [index[blob] for blob in sorted(unread)]
    return graph


def mark_backward(graph: Graph, force: bool, may_force: Sequence[Sequence[bool]]) -> None:
    """Decide which layers, bottoms and parameters the backward pass visits.

    Parameters
    ----------
    graph : Graph
        Its nodes' `learns` and `loss_weights` are set.
    force : bool
        The net's `force_backward`.
    may_force : sequence of sequence of bool
        For each node and bottom, whether forcing may reach it (labels: no).
    """
    blob_needs = [False] * len(graph.blob_names)
    for node in graph.nodes:
        declared = list(node.param.propagate_down)
        if declared and len(declared) != len(node.bottoms):
            raise NetError(
                f"{node.label}: propagate_down stands {len(declared)} times, "
                f"but the layer has {len(node.bottoms)} bottoms",
                word=node.param.name,
            )
        node.bottom_need_backward = declared or [blob_needs[b] for b in node.bottoms]
        node.param_need_backward = [force or learns for learns in node.learns]
        node.need_backward = any(blob_needs[b] for b in node.bottoms) or any(node.learns)
        if node.need_backward:
            for top in node.tops:
                blob_needs[top] = True
    _drop_what_no_loss_reaches(graph)
    if force:
        for node, allowed in zip(graph.nodes, may_force, strict=True):
            node.need_backward = True
            node.bottom_need_backward = [
                need or may for need, may in zip(node.bottom_need_backward, allowed, strict=True)
            ]


def _drop_what_no_loss_reaches(graph: Graph) -> None:
    under_loss: set[int] = set()
    skipped: set[int] = set()
    for node in reversed(graph.nodes):
        contributes = any(node.loss_weights) or any(top in under_loss for top in node.tops)
        pointless = all(top in skipped for top in node.tops)
        if pointless or not contributes:
            node.need_backward = False
            node.bottom_need_backward = [False] * len(node.bottoms)
        for bottom, need in zip(node.bottoms, node.bottom_need_backward, strict=True):
            if contributes:
                under_loss.add(bottom)
            if not need:
                skipped.add(bottom)
