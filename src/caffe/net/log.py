"""The original's log of a net that is made, for whoever has called `caffe.init_log`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..engine.steps import Step
from ..graph import Graph, filter_layers, state_of, unmet
from ..logs import is_told, say
from ..memory.blob import Shape
from ..proto.caffe_pb2 import LayerParameter, NetParameter, NetState
from ..proto.text import format_text


def tell_text(
    param: NetParameter, phase: int, level: int | None = 0, stages: Iterable[str] = ()
) -> None:
    """Tell which layers a net has not, and its text; the arguments are those of `build_graph`."""
    if not is_told():
        return
    state = state_of(param, phase, level, stages)
    for layer in param.layer:
        _tell_rules(layer, state)
    told = NetParameter()
    told.CopyFrom(param)
    told.state.CopyFrom(state)
    del told.layer[:]
    told.layer.extend(filter_layers(param.layer, state))
    say("net.cpp:53", f"Initializing net from parameters: \n{format_text(told).rstrip()}")


def _tell_rules(layer: LayerParameter, state: NetState) -> None:
    """Tell of each rule up to the one that decides why it does not hold."""
    for rule in layer.include or layer.exclude:
        reason = unmet(state, rule)
        if reason is None:
            return
        say("net.cpp:296", f"{reason} specified by a rule in layer {layer.name}")


class BuildingLog:
    """Tells of a net's layers as they are made, if anybody reads it."""

    def __init__(self) -> None:
        self._is_told = is_told()
        self._numbers = 0

    def begin(self, step: Step) -> None:
        """Tell of a layer that is about to be set up."""
        if self._is_told:
            say("layer_factory.hpp:77", f"Creating layer {step.layer.name}")

    def end(self, step: Step) -> None:
        """Tell of a layer that has been set up: its bottoms, its tops and their shapes."""
        if not self._is_told:
            return
        layer = step.layer
        for place, text in layer.lines_when_made():
            say(place, text)
        say("net.cpp:86", f"Creating Layer {layer.name}")
        for name in step.bottom_names:
            say("net.cpp:408", f"{layer.name} <- {name}")
        for name, top in zip(step.top_names, step.tops, strict=True):
            if any(top is bottom for bottom in step.bottoms):
                say("net.cpp:369", f"{layer.name} -> {name} (in-place)")
            else:
                say("net.cpp:382", f"{layer.name} -> {name}")
        for place, text in layer.lines_at_setup(step.tops):
            say(place, text)
        say("net.cpp:124", f"Setting up {layer.name}")
        for top, weight in zip(step.tops, step.loss_weights, strict=False):
            say("net.cpp:131", f"Top shape: {_shown(top.shape)}")
            if weight:
                say("net.cpp:134", f"    with loss weight {weight:g}")
            self._numbers += top.count
        say("net.cpp:139", f"Memory required for data: {4 * self._numbers}")

    def close(self, graph: Graph) -> None:
        """Tell whom the backward pass visits, and what the net gives."""
        if not self._is_told:
            return
        for node in reversed(graph.nodes):
            if node.need_backward:
                say("net.cpp:200", f"{node.param.name} needs backward computation.")
            else:
                say("net.cpp:202", f"{node.param.name} does not need backward computation.")
        for blob in graph.outputs:
            say("net.cpp:244", f"This network produces output {graph.blob_names[blob]}")
        say("net.cpp:257", "Network initialization done.")


def _shown(shape: Shape) -> str:
    """A shape as the original writes it: its extents, and how many numbers it holds."""
    return "".join(f"{extent} " for extent in shape) + f"({math.prod(shape)})"
