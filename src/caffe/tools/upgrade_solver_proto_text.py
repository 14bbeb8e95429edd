"""`upgrade_solver_proto_text`: an old solver written in today's form, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli.upgrade import write_upgraded
from .command import run_tool


def upgrade_solver_proto_text(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A solver of any age.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Written as text.")],
) -> None:
    """Write a solver of any age in today's form, as text."""
    write_upgraded(source, target, solver=True, binary=False)


def run() -> None:
    """Run the tool."""
    run_tool(upgrade_solver_proto_text)


if __name__ == "__main__":
    run()
