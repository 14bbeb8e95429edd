"""`draw_net`: a net's text as a picture, as pycaffe draws it.

The original's ``python/draw_net.py``; `caffe draw` draws more.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..cli.draw import Direction
from .command import run_tool


class Phases(str, Enum):
    """Which layers are drawn."""

    TRAIN = "TRAIN"
    TEST = "TEST"
    ALL = "ALL"


def draw_net(
    input_net_proto_file: Annotated[Path, typer.Argument(help="The net.")],
    output_image_file: Annotated[
        Path, typer.Argument(help="The picture; its ending says the format.")
    ],
    rankdir: Annotated[Direction, typer.Option(help="Which way data flows.")] = Direction.LR,
    phase: Annotated[Phases, typer.Option(help="Which phase's layers.")] = Phases.ALL,
    display_lrm: Annotated[
        bool, typer.Option("--display_lrm", help="Show the learning rates' factors.")
    ] = False,
) -> None:
    """Draw a net. Needs the extra 'draw'."""
    from ..draw import draw_net_to_file
    from ..phases import check_phase
    from ..proto.files import read_net

    net = read_net(input_net_proto_file)
    print(f"Drawing net to {output_image_file}")
    number = None if phase is Phases.ALL else check_phase(phase.value)
    draw_net_to_file(net, output_image_file, rankdir.value, number, display_lrm)


def run() -> None:
    """Run the tool."""
    run_tool(draw_net)


if __name__ == "__main__":
    run()
