"""`upgrade_net_proto_binary`: an old net written in today's form, as binary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli.upgrade import write_upgraded
from .command import run_tool


def upgrade_net_proto_binary(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A net of any age.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Written as binary.")],
) -> None:
    """Write a net of any age in today's form, as binary."""
    write_upgraded(source, target, solver=False, binary=True)


def run() -> None:
    """Run the tool."""
    run_tool(upgrade_net_proto_binary)


if __name__ == "__main__":
    run()
