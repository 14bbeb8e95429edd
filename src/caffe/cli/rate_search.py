"""`caffe train --lr-find`: which learning rate to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .terminal import complain, progress

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import SolverParameter

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 100
DOTS_PER_INCH = 150


def told_range(text: str | None) -> tuple[float, float]:
    """Read ``--lr-range``: the lowest and the highest rate with a comma between.

    Raises
    ------
    typer.BadParameter
        It is something else.
    """
    if text is None:
        return LOWEST, HIGHEST
    try:
        lowest, highest = map(float, text.split(","))
    except ValueError:
        lowest, highest = 0.0, 0.0
    if not 0 < lowest < highest:
        raise typer.BadParameter(f"--lr-range takes two rates that rise, as in 1e-6,1, not {text}")
    return lowest, highest


def find_rate(param: SolverParameter, rates: tuple[float, float], steps: int, output: Path) -> None:
    """Run a range test, print what it suggests, and draw it where matplotlib is installed.

    Parameters
    ----------
    param : SolverParameter
        The solver's text.
    rates : (float, float)
        The lowest and the highest.
    steps : int
        How many steps to do.
    output : Path
        The figure's file.
    """
    from ..errors import MissingExtraError
    from ..solver.rate_search import search_rate

    with progress("Searching", steps, "steps") as (_, advance):
        found = search_rate(param, *rates, steps, advance)
    print(found)
    try:
        from .. import vis
    except MissingExtraError as error:
        complain(f"nothing is drawn: {error}")
        return
    from ..atomic import atomic_write

    with atomic_write(output) as stream:
        ending = output.suffix[1:].lower() or "png"
        vis.rate_search(found).savefig(stream, format=ending, dpi=DOTS_PER_INCH, facecolor="white")
    print(f"{output} drawn.")
