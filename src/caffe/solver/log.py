"""The lines of the original's log, which its users' tools read."""

from __future__ import annotations


def shown_output(blob: str, value: float, weight: float) -> str:
    """Return how one of a net's outputs is told, and what it adds to the loss."""
    loss = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
    return f"{blob} = {value:g}{loss}"


def output_line(what: str, index: int, blob: str, value: float, weight: float) -> str:
    """Return the line of one of a net's outputs; `what` is "Train" or "Test"."""
    return f"    {what} net output #{index}: {shown_output(blob, value, weight)}"
