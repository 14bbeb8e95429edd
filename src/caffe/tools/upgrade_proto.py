"""What the three tools share that write old nets and solvers in today's form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..cli.upgrade import write_upgraded

Source = Annotated[Path, typer.Argument(metavar="IN", help="Of any age, text or binary.")]
Target = Annotated[Path, typer.Argument(metavar="OUT", help="Written as a whole or not at all.")]


def upgrade_tool(kind: str, form: str) -> Callable[[Path, Path], None]:
    """Return the tool that upgrades a "net" or a "solver" and writes it as "text" or "binary"."""

    def upgrade(source: Source, target: Target) -> None:
        write_upgraded(source, target, solver=kind == "solver", binary=form == "binary")

    upgrade.__doc__ = f"Write a {kind} of any age in today's form, as {form}."
    return upgrade
