"""What pycaffe's users see of a net: its blobs, layers and parameters, by number and by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..engine.steps import Step
from ..graph import Graph
from ..memory.blob import Blob
from ..vectors import BlobVec, DtypeVec, IntVec, LayerVec, StringVec
from .by_name import BlobsByName, LayersByName, ParametersByName


@dataclass(frozen=True)
class View:
    """All of it, made once when the net is built; `Views` says what each is."""

    all_blobs: BlobVec
    blob_names: StringVec
    layer_names: StringVec
    input_ids: IntVec
    output_ids: IntVec
    loss_weights: DtypeVec
    layers: LayerVec
    layer_dict: LayersByName[Any]
    blobs: BlobsByName[Blob]
    params: ParametersByName[BlobVec]
    inputs: list[str]
    outputs: list[str]
    bottom_names: LayersByName[list[str]]
    top_names: LayersByName[list[str]]
    blob_loss_weights: BlobsByName[float]

    @classmethod
    def of(cls, graph: Graph, steps: Sequence[Step], all_blobs: BlobVec) -> View:
        """Return the view of a net of these parts."""
        nodes = graph.nodes
        names = StringVec(graph.blob_names)
        layer_names = StringVec(node.param.name for node in nodes)
        layers = LayerVec(step.layer.face for step in steps)
        weights = DtypeVec([0.0] * len(names))
        for node in nodes:
            for top, weight in zip(node.tops, node.loss_weights, strict=True):
                weights[top] = weight
        return cls(
            all_blobs,
            names,
            layer_names,
            IntVec(graph.inputs),
            IntVec(graph.outputs),
            weights,
            layers,
            LayersByName(zip(layer_names, layers, strict=True)),
            BlobsByName(zip(names, all_blobs, strict=True)),
            ParametersByName(
                (name, step.layer.blobs)
                for name, step in zip(layer_names, steps, strict=True)
                if step.layer.blobs
            ),
            [names[i] for i in graph.inputs],
            [names[i] for i in graph.outputs],
            LayersByName((n.param.name, [names[b] for b in n.bottoms]) for n in nodes),
            LayersByName((n.param.name, [names[t] for t in n.tops]) for n in nodes),
            BlobsByName(zip(names, weights, strict=True)),
        )


class Views:
    """pycaffe's names for the parts of a net."""

    _graph: Graph
    _view: View

    @property
    def blobs(self) -> BlobsByName[Blob]:
        """The blobs by name, in the order in which layers make them."""
        return self._view.blobs

    @property
    def params(self) -> ParametersByName[BlobVec]:
        """The parameters of each layer that has any, by the layer's name: weights, then bias."""
        return self._view.params

    @property
    def layers(self) -> LayerVec:
        """The layers in running order."""
        return self._view.layers

    @property
    def layer_dict(self) -> LayersByName[Any]:
        """The layers by name."""
        return self._view.layer_dict

    @property
    def inputs(self) -> list[str]:
        """The names of the blobs that the program fills."""
        return self._view.inputs

    @property
    def outputs(self) -> list[str]:
        """The names of the blobs that no layer reads."""
        return self._view.outputs

    @property
    def bottom_names(self) -> LayersByName[list[str]]:
        """The names of the blobs that each layer reads, by the layer's name."""
        return self._view.bottom_names

    @property
    def top_names(self) -> LayersByName[list[str]]:
        """The names of the blobs that each layer writes, by the layer's name."""
        return self._view.top_names

    @property
    def blob_loss_weights(self) -> BlobsByName[float]:
        """What each blob adds to the loss, by the blob's name."""
        return self._view.blob_loss_weights

    @property
    def _blobs(self) -> BlobVec:
        """The blobs by number."""
        return self._view.all_blobs

    @property
    def _blob_names(self) -> StringVec:
        """The blobs' names by number."""
        return self._view.blob_names

    @property
    def _layer_names(self) -> StringVec:
        """The layers' names by number."""
        return self._view.layer_names

    @property
    def _inputs(self) -> IntVec:
        """The numbers of the blobs that the program fills."""
        return self._view.input_ids

    @property
    def _outputs(self) -> IntVec:
        """The numbers of the blobs that no layer reads."""
        return self._view.output_ids

    @property
    def _blob_loss_weights(self) -> DtypeVec:
        """What each blob adds to the loss, by the blob's number."""
        return self._view.loss_weights

    def _bottom_ids(self, layer: int) -> IntVec:
        """The numbers of the blobs that the layer of this number reads."""
        return IntVec(self._graph.nodes[layer].bottoms)

    def _top_ids(self, layer: int) -> IntVec:
        """The numbers of the blobs that it writes."""
        return IntVec(self._graph.nodes[layer].tops)
