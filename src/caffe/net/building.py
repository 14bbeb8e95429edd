"""A net's layers made of its graph: set up one after the other, with blobs and parameters."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.steps import Step
from ..errors import NetError
from ..graph import Graph, mark_backward
from ..layers.layer import Layer
from ..layers.registry import create
from ..memory.blob import Blob
from ..phases import TRAIN
from ..vectors import BlobVec, RawBlobVec
from .alignment import warn_of_unsaid_offsets
from .log import BuildingLog
from .parameters import ParameterList


def build(graph: Graph, force_backward: bool) -> tuple[list[Step], BlobVec, ParameterList]:
    """Make the layers of a graph, and mark in it whom the backward pass visits.

    Parameters
    ----------
    graph : Graph
        Gets the tops that its text leaves out, and what each layer learns and adds to the loss.
    force_backward : bool
        Whether all blobs get gradients that may, as the net's text says.

    Returns
    -------
    steps : list of Step
        In running order.
    blobs : BlobVec
        By number.
    parameters : ParameterList
        Who owns which.
    """
    log = BuildingLog()
    layers = [create(node.param) for node in graph.nodes]
    graph.add_automatic_tops([layer.added_tops for layer in layers])
    blobs = BlobVec(Blob() for _ in graph.blob_names)
    steps: list[Step] = []
    parameters = ParameterList()
    for node, layer in zip(graph.nodes, layers, strict=True):
        step = Step(
            node,
            layer,
            RawBlobVec(blobs[b] for b in node.bottoms),
            RawBlobVec(blobs[t] for t in node.tops),
            [graph.blob_names[b] for b in node.bottoms],
            [graph.blob_names[t] for t in node.tops],
        )
        log.begin(step)
        step.setup()
        step.is_recorded = layer.phase == TRAIN
        node.loss_weights = _loss_weights(layer, len(node.tops))
        step.put_loss_weights()
        log.end(step)
        with step.blame():
            parameters.add(layer)
        # By the text, not by what the layer adds to its own copy: as in Caffe the backward
        # pass visits a BatchNorm whose text is silent about its blobs.
        specs = node.param.param
        node.learns = [
            not node.param.freeze and (i >= len(specs) or specs[i].lr_mult != 0)
            for i in range(len(layer.blobs))
        ]
        steps.append(step)
    parameters.share()
    warn_of_unsaid_offsets(steps)
    _mark_backward(graph, steps, False)
    log.close(graph)
    if force_backward:
        _mark_backward(graph, steps, True)
    return steps, blobs, parameters


def _mark_backward(graph: Graph, steps: Sequence[Step], force: bool) -> None:
    may_force = [
        [b not in step.layer.no_gradient_for for b in range(len(step.bottoms))] for step in steps
    ]
    mark_backward(graph, force, may_force)


def _loss_weights(layer: Layer, tops: int) -> list[float]:
    """Return what each of a layer's tops adds to the loss; raises NetError for a wrong number."""
    given = list(layer.layer_param.loss_weight)
    if not given and layer.default_loss_weight:
        given = [layer.default_loss_weight]
    may_stop_early = bool(given and layer.default_loss_weight)
    if len(given) > tops or (given and len(given) < tops and not may_stop_early):
        raise NetError(
            f"layer '{layer.name}' ({layer.type}): loss_weight stands {len(given)} times, "
            f"but the layer has {tops} tops: give it once per top, or not at all",
            word=layer.name,
        )
    return given + [0.0] * (tops - len(given))
