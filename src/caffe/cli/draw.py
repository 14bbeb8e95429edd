"""`caffe draw`: a net as a picture."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from . import completion
from .nets import Phase, RunPython, outline_named_net
from .show import read_shapes
from .terminal import complain


class Direction(str, Enum):
    """Which way data flows in a picture: down, up, right or left."""

    TB = "TB"
    BT = "BT"
    LR = "LR"
    RL = "RL"


def draw(
    net: Annotated[
        str,
        typer.Argument(
            metavar="NET",
            help="A net's file, or a model that `caffe zoo` lists.",
            autocompletion=completion.nets,
        ),
    ],
    picture: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Where to draw it; the name ends in .svg, .pdf or .png."
        ),
    ],
    phase: Annotated[
        Phase | None,
        typer.Option(help="Which of the net's phases.", show_default="TEST, if the net has it"),
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A stage that layers ask for.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLOB=N,C,H,W", help="The shape of an input or of a data layer's top."
        ),
    ] = None,
    direction: Annotated[
        Direction, typer.Option(help="Data flows from top to bottom (TB), left to right (LR), ...")
    ] = Direction.TB,
    every: Annotated[
        bool,
        typer.Option("--every", help="Draw every repetition of a block, not the first one alone."),
    ] = False,
    run_python: RunPython = False,
) -> None:
    """Draw a net: a node for each layer, with its main parameters and output shape.

    What runs on a layer's output (BatchNorm, Scale, activations, Dropout) stands in the layer's
    node. Blocks that repeat are drawn once, in a frame that says how often. Needs the extra
    'draw'.
    """
    from ..draw import format_of
    from ..structure.diagram import draw_outline

    format_of(picture)
    outline = outline_named_net(net, phase, stage or (), None, read_shapes(shape), run_python)
    draw_outline(outline, picture, direction.value, not every)
    for note in outline.notes:
        complain(f"note: {note}")
    print(f"{picture} drawn.")
