"""`caffe plot`: how trainings went, drawn from their logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def plot(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG...", help="Logs, or tables that `caffe train --csv` wrote."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The picture: PNG, SVG or PDF.")
    ] = Path("curve.png"),
) -> None:
    """Draw losses, test scores and learning rates of one or more trainings (extra `vis`)."""
    from ..errors import require
    from ..io.curves import read_curves

    runs = {str(log): read_curves(log) for log in logs}
    require("matplotlib", "vis", "caffe plot")
    from ..atomic import atomic_write
    from ..vis import training_curves

    figure = training_curves(runs)
    with atomic_write(output) as stream:
        try:
            figure.savefig(stream, format=output.suffix[1:] or "png")
        except ValueError as error:
            raise typer.BadParameter(f"--output: {error}") from error
    print(f"Wrote {output}")
