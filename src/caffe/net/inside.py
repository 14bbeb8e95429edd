"""What a net is made of, for the package's own modules."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.callbacks import Callbacks
from ..engine.runner import Runner
from ..engine.steps import Step
from ..graph import Graph
from ..layers.layer import Layer
from .parameters import ParameterList


@dataclass(frozen=True)
class Inside:
    """The parts of a net; `Net.inside` hands them out.

    pycaffe has no names for these. Modules outside this room ask here for what they need, and
    touch no member of `Net` whose name begins with an underscore, but for pycaffe's own.

    Attributes
    ----------
    graph : Graph
        The net as pure data.
    steps : list of Step
        For each node of the graph its layer, set up, and the blobs that it reads and writes.
    parameters : ParameterList
        Who owns which parameter.
    runner : Runner
        Who runs the steps when the net runs as a whole.
    callbacks : Callbacks
        Who is called for each layer that runs.
    """

    graph: Graph
    steps: list[Step]
    parameters: ParameterList
    runner: Runner
    callbacks: Callbacks

    @property
    def layers(self) -> list[Layer]:
        """The layers in running order."""
        return [step.layer for step in self.steps]
