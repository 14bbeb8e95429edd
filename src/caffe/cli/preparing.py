"""How pictures go into a net whose recipe is guessed: options for where the guess is wrong."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .options import numbers

PREPARATION = "How pictures go in, where the guess is wrong"

Mean = Annotated[
    str | None,
    typer.Option(
        metavar="B,G,R",
        help="Subtracted from pixels of 0 to 255, one number or one per channel.",
        rich_help_panel=PREPARATION,
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(help="Multiplied after that.", rich_help_panel=PREPARATION),
]
Order = Annotated[
    str | None,
    typer.Option(metavar="bgr|rgb|grey", help="Channels.", rich_help_panel=PREPARATION),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="HEIGHT,WIDTH",
        help="What pictures are brought to; for R-CNNs the shorter side, and the most that "
        "the longer may have.",
        rich_help_panel=PREPARATION,
    ),
]


def said_preparation(
    mean: str | None, scale: float | None, order: str | None, size: str | None
) -> dict[str, Any]:
    """What these options say, by the names of a detector's or a segmenter's arguments."""
    return {
        "mean": None if mean is None else numbers(mean, "--mean"),
        "scale": scale,
        "order": order,
        "size": None if size is None else [int(n) for n in numbers(size, "--size", 2)],
    }


def reasons_of(said: dict[str, Any]) -> dict[str, str]:
    """Which option said each value that was said."""
    return {name: f"--{name}" for name, value in said.items() if value is not None}
