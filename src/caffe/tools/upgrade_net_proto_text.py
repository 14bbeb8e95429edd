"""`upgrade_net_proto_text`: an old net written in today's form, as text."""

from __future__ import annotations

from .command import run_tool
from .upgrade_proto import upgrade_tool

upgrade_net_proto_text = upgrade_tool("net", "text")


def run() -> None:
    """Run the tool."""
    run_tool(upgrade_net_proto_text)


if __name__ == "__main__":
    run()
