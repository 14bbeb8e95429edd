"""The lines of the original's log, which its users' tools read."""

from __future__ import annotations


def output_line(what: str, index: int, blob: str, value: float, weight: float) -> str:
    """Return the line of one of a net's outputs; `what` is "Train" or "Test"."""
    loss = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
    return f"    {what} net output #{index}: {blob} = {value:g}{loss}"
