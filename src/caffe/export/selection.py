"""What of a net goes out: the layers that the outputs need, and what is given to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engine.steps import Step
from ..errors import ArgumentError, did_you_mean
from ..layers.input import DummyData, ParameterLayer
from ..memory.blob import Shape
from ..net.net import Net

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Selection:
    """A part of a net that can run by itself; blobs are numbers in the net's graph.

    Attributes
    ----------
    net : Net
        Where it is from.
    steps : list of Step
        The layers, in running order, but for those that only bring data in.
    inputs, outputs : list of int
        The blobs that are given and that are wanted.
    fixed : dict of int to Tensor
        Blobs whose values never change (DummyData of constants).
    """

    net: Net
    steps: list[Step]
    inputs: list[int]
    outputs: list[int]
    fixed: dict[int, Tensor]

    def name(self, blob: int) -> str:
        """Return a blob's name."""
        return self.net.inside.graph.blob_names[blob]

    def shape(self, blob: int) -> Shape:
        """Return a blob's shape as it stands."""
        for step in self.net.inside.steps:
            for number, top in zip(step.node.tops, step.tops, strict=True):
                if number == blob:
                    return top.shape
        raise AssertionError(f"no layer makes blob {blob}")

    @property
    def input_shapes(self) -> list[Shape]:
        """The shapes of the blobs that are given."""
        return [self.shape(blob) for blob in self.inputs]


def select(net: Net, outputs: Sequence[str] | None = None) -> Selection:
    """Choose what some blobs need.

    Parameters
    ----------
    net : Net
        As it is shaped and filled.
    outputs : sequence of str, optional
        The blobs that are wanted; the net's outputs by default.

    Raises
    ------
    ArgumentError
        A name is none of the net's blobs, or nothing is wanted.
    """
    graph = net.inside.graph
    wanted = graph.outputs if outputs is None else [_number(graph.blob_names, n) for n in outputs]
    if not wanted:
        raise ArgumentError("the net has no outputs: name the blobs that are wanted")
    needed = set(wanted)
    kept: list[Step] = []
    for step in reversed(net.inside.steps):
        if needed.isdisjoint(step.node.tops):
            continue
        kept.append(step)
        needed.update(step.node.bottoms)
    steps: list[Step] = []
    inputs: list[int] = []
    fixed: dict[int, Tensor] = {}
    for step in reversed(kept):
        if not brings_data(step):
            steps.append(step)
            continue
        for blob, top in zip(step.node.tops, step.tops, strict=True):
            if is_constant(step):
                fixed[blob] = top.data_tensor().clone()
            elif blob in needed:
                inputs.append(blob)
    return Selection(net, steps, inputs, list(wanted), fixed)


def brings_data(step: Step) -> bool:
    """Whether a layer's tops are given from outside, not computed."""
    layer = step.layer
    if layer.is_given:
        return True
    return layer.on_blobs and not step.bottoms and not isinstance(layer, ParameterLayer)


def is_constant(step: Step) -> bool:
    """Whether a layer's tops are the same at each forward."""
    layer = step.layer
    if not isinstance(layer, DummyData):
        return False
    return all(filler.type == "constant" for filler in layer.param.data_filler)


def _number(names: Sequence[str], name: str) -> int:
    if name not in names:
        hint = did_you_mean(name, names)
        raise ArgumentError(f"the net has no blob '{name}'{hint and '; '}{hint}")
    return names.index(name)
