"""A net's layers with their shapes, as far as these can be known without its data or weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from ..engine.steps import Step
from ..errors import ArgumentError, CaffeError, ShapeError, first_line
from ..graph import Graph, Node, build_graph
from ..guarded import guarded
from ..layers.layer import Layer
from ..layers.python import modules_left_alone
from ..layers.registry import create
from ..memory.blob import Blob, Shape, checked_shape
from ..phases import TEST
from ..proto.caffe_pb2 import LayerParameter, NetParameter


class Parts(Protocol):
    """What an outline asks of a net's parts."""

    @property
    def graph(self) -> Graph:
        """The net as pure data."""
        ...

    @property
    def steps(self) -> Sequence[Step]:
        """For each node of the graph its layer, set up, and its blobs."""
        ...


class Built(Protocol):
    """What an outline asks of a net that is there; `caffe.Net` is one."""

    name: str

    @property
    def inside(self) -> Parts:
        """The net's parts."""
        ...


@dataclass
class OutlinedLayer:
    """A layer and what is known of its shapes.

    Attributes
    ----------
    param : LayerParameter
        The layer's description.
    layer : Layer or None
        The layer, set up; None where that was not possible.
    bottoms, tops : list of int
        Indices into the outline's blobs.
    bottom_shapes, top_shapes : list of (tuple of int or None)
        None where a shape is not known.
    """

    param: LayerParameter
    layer: Layer | None
    bottoms: list[int]
    tops: list[int]
    bottom_shapes: list[Shape | None]
    top_shapes: list[Shape | None]

    @property
    def is_inserted_split(self) -> bool:
        """Whether this is a Split that stands in no text."""
        return self.param.type == "Split" and all(
            name == f"{self.param.name}_{k}" for k, name in enumerate(self.param.top)
        )

    def runs_in_place(self, top: int) -> bool:
        """Whether the layer writes its top of this number over a bottom."""
        return self.tops[top] in self.bottoms


@dataclass
class Outline:
    """A net's layers in running order.

    Attributes
    ----------
    name : str
        The net's name.
    phase : int
        caffe.TRAIN or caffe.TEST.
    layers : list of OutlinedLayer
        In running order, the Splits that Caffe inserts among them.
    blob_names : list of str
        The blobs' names by their index.
    notes : list of str
        What could not be found out, or had to be assumed, and why.
    """

    name: str
    phase: int
    layers: list[OutlinedLayer]
    blob_names: list[str]
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._behind_splits: dict[int, int] = {}
        for layer in self.layers:
            if layer.is_inserted_split:
                self._behind_splits.update(dict.fromkeys(layer.tops, self.source(layer.bottoms[0])))

    def source(self, blob: int) -> int:
        """The blob that this one is, or that an inserted Split copies to it."""
        return self._behind_splits.get(blob, blob)

    def name_of(self, blob: int) -> str:
        """A blob's name as the text has it."""
        return self.blob_names[self.source(blob)]


@guarded
def outline_of(net: Built) -> Outline:
    """Return the outline of a net that is there, with the shapes that its blobs have now."""
    parts: Parts | None = getattr(net, "inside", None)
    if parts is None:
        raise ArgumentError(f"this takes a caffe.Net, not {type(net).__name__} {net!r:.60}")
    graph = parts.graph
    layers = [
        OutlinedLayer(
            node.param,
            step.layer,
            node.bottoms,
            node.tops,
            [blob.shape for blob in step.bottoms],
            [blob.shape for blob in step.tops],
        )
        for node, step in zip(graph.nodes, parts.steps, strict=True)
    ]
    phase = graph.nodes[0].param.phase if graph.nodes else TEST
    return Outline(net.name, phase, layers, graph.blob_names)


@guarded
def outline(
    param: NetParameter,
    phase: int,
    level: int = 0,
    stages: Sequence[str] = (),
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    run_python: bool = False,
) -> Outline:
    """Find out a net's shapes without making the net.

    Nothing is computed and no memory taken for blobs and parameters. Data layers whose data is
    not there, Python layers, and layers of an unknown type are passed over:
    what is not known then is None, and `notes` says why.

    Parameters
    ----------
    param : NetParameter
        Upgraded to the newest form.
    phase : int
        caffe.TRAIN or caffe.TEST.
    level : int
        For `min_level` and `max_level` rules.
    stages : sequence of str
        For `stage` and `not_stage` rules.
    batch : int, optional
        How many pictures at once, instead of what the text says.
    shapes : mapping of str to sequence of int, optional
        Shapes for tops of data and input layers, by name; they go before `batch`.
    run_python : bool
        Import the modules that Python layers name, which runs whatever code is in them.

    Raises
    ------
    NetError
        The layers do not connect.
    CaffeError
        `shapes` names a blob that no data or input layer makes.
    """
    graph = build_graph(param, phase, level, stages)
    with nullcontext() if run_python else modules_left_alone():
        found = _Builder(graph, batch, dict(shapes or {})).build()
    return Outline(graph.name, phase, *found)


class _Builder:
    """Sets up the layers of a graph one after the other, as far as that is possible."""

    def __init__(self, graph: Graph, batch: int | None, shapes: dict[str, Sequence[int]]) -> None:
        self.graph = graph
        self.batch = batch
        self.own_batch: int | None = None
        self.shapes = shapes
        self.notes: list[str] = []

    def build(self) -> tuple[list[OutlinedLayer], list[str], list[str]]:
        graph = self.graph
        self._check_shapes()
        layers = [self._create(node) for node in graph.nodes]
        graph.add_automatic_tops([0 if layer is None else layer.added_tops for layer in layers])
        blobs: list[Blob | None] = [None] * len(graph.blob_names)
        result = []
        for node, layer in zip(graph.nodes, layers, strict=True):
            bottoms = [blobs[b] for b in node.bottoms]
            before = [None if blob is None else blob.shape for blob in bottoms]
            ready = self._set_up(node, layer, bottoms, blobs)
            after = [None if (blob := blobs[t]) is None else blob.shape for t in node.tops]
            known = layer if ready else None
            result.append(OutlinedLayer(node.param, known, node.bottoms, node.tops, before, after))
        return result, graph.blob_names, self.notes

    def _check_shapes(self) -> None:
        made = [top for node in self.graph.nodes if not node.bottoms for top in node.param.top]
        for name in self.shapes:
            if name not in made:
                raise CaffeError(
                    f"no input or data layer makes a blob '{name}'; they make "
                    + (", ".join(f"'{top}'" for top in made) or "none")
                )

    def _create(self, node: Node) -> Layer | None:
        try:
            return create(node.param)
        # A person's own module of a Python layer may raise whatever it likes.
        except Exception as error:
            self._note(node, error)
            return None

    def _set_up(
        self, node: Node, layer: Layer | None, bottoms: list[Blob | None], blobs: list[Blob | None]
    ) -> bool:
        """Fill in what is known of the tops; say whether the layer could be set up."""
        known = [blob for blob in bottoms if blob is not None]
        if layer is None or len(known) < len(bottoms):
            for top in node.tops:
                # What an unknown layer does in place keeps the shape.
                blobs[top] = blobs[top] if top in node.bottoms else None
            if not node.bottoms:
                self._give_shapes(node, blobs)
            return False
        in_place = {t: blobs[t] for t in node.tops if t in node.bottoms}
        tops = [in_place.get(t) or Blob() for t in node.tops]
        bottom_names, top_names = (
            [self.graph.blob_names[blob] for blob in places] for places in (node.bottoms, node.tops)
        )
        step = Step(node, layer, known, tops, bottom_names, top_names)
        ready = self._try(node, step) if node.bottoms else self._open(node, step)
        for top, blob in zip(node.tops, tops, strict=True):
            blobs[top] = blob if ready or top in in_place else None
        if not node.bottoms:
            self._give_shapes(node, blobs)
        return ready

    def _try(self, node: Node, step: Step) -> bool:
        try:
            step.setup()
        except Exception as error:
            self._note(node, error)
            return False
        return True

    def _open(self, node: Node, step: Step) -> bool:
        """Set up a layer without bottoms; if its data is not there, go by what the text says."""
        names = list(node.param.top)
        try:
            declared, assumed = step.layer.declared_shapes(), step.layer.assumes_shapes
        except Exception as error:
            self._note(node, error)
            return False
        if declared is None and assumed and names and names[0] in self.shapes:
            # What stands beside pictures is one for each of them.
            batch = tuple(self.shapes[names[0]])[:1]
            declared = [batch] * len(names)
        elif (declared is None or assumed) and not all(name in self.shapes for name in names):
            try:
                step.setup()
                return True
            except Exception as error:
                self.notes.append(_not_opened(node, self._reason(node, error), declared))
        try:
            for top, shape in zip(step.tops, declared or (), strict=False):
                top.reshape(*shape)
        except ShapeError as error:
            self._note(node, error)
            return False
        return declared is not None

    def _give_shapes(self, node: Node, blobs: list[Blob | None]) -> None:
        """Give a source's tops the shapes, or the batch, that the caller wants."""
        for top, name in zip(node.tops, node.param.top, strict=False):
            blob = blobs[top]
            if name in self.shapes:
                blobs[top] = Blob(checked_shape(self.shapes[name]))
            elif blob is not None and blob.shape and self.batch is not None:
                self.own_batch = self.own_batch or blob.shape[0]
                # Of several inputs, those that are not one per picture keep their size.
                if blob.shape[0] == self.own_batch:
                    blob.reshape(self.batch, *blob.shape[1:])

    def _note(self, node: Node, error: Exception) -> None:
        self.notes.append(f"{node.label}: {self._reason(node, error)}")

    @staticmethod
    def _reason(node: Node, error: Exception) -> str:
        text = _reason(error)
        for label in (node.label, f"layer '{node.param.name}'"):
            text = text.removeprefix(f"{label}: ")
        return text


def _not_opened(node: Node, why: str, declared: Sequence[Shape] | None) -> str:
    what = f"{node.label}: not opened ({why})"
    if declared:
        shown = " x ".join(map(str, declared[0]))
        return f"{what}; by its text the pictures are {shown} (if they are in colour)"
    return f"{what}; its shapes are not known: --shape, or the argument shapes, can give them"


def _reason(error: Exception) -> str:
    line = first_line(error)
    return line if isinstance(error, CaffeError) else f"{type(error).__name__}: {line}"
