"""`upgrade_net_proto_binary`: an old net written in today's form, as binary."""

from __future__ import annotations

from .command import run_tool
from .upgrade_proto import upgrade_tool

upgrade_net_proto_binary = upgrade_tool("net", "binary")


def run() -> None:
    """Run the tool."""
    run_tool(upgrade_net_proto_binary)


if __name__ == "__main__":
    run()
