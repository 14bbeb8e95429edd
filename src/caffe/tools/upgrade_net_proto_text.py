"""`upgrade_net_proto_text`: an old net written in today's form, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli.upgrade import write_upgraded
from .command import run_tool


def upgrade_net_proto_text(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A net of any age.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Written as text.")],
) -> None:
    """Write a net of any age in today's form, as text."""
    write_upgraded(source, target, solver=False, binary=False)


def run() -> None:
    """Run the tool."""
    run_tool(upgrade_net_proto_text)


if __name__ == "__main__":
    run()
