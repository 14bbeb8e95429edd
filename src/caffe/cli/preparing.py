"""How pictures go into a net whose recipe is guessed: options for where the guess is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from .options import numbers

PREPARATION = "How pictures go in, where the guess is wrong"


@dataclass(frozen=True)
class Preparation:
    """The options of commands that guess how pictures go in."""

    mean: Annotated[
        str | None,
        typer.Option(
            metavar="B,G,R",
            help="Subtracted from pixels of 0 to 255, one number or one per channel.",
            rich_help_panel=PREPARATION,
        ),
    ] = None
    scale: Annotated[
        float | None,
        typer.Option(help="Multiplied after that.", rich_help_panel=PREPARATION),
    ] = None
    order: Annotated[
        str | None,
        typer.Option(metavar="bgr|rgb|grey", help="Channels.", rich_help_panel=PREPARATION),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="What pictures are brought to; for R-CNNs the shorter side, and the most that "
            "the longer may have.",
            rich_help_panel=PREPARATION,
        ),
    ] = None

    def said(self) -> dict[str, Any]:
        """What was said, by the names of a detector's or a segmenter's arguments."""
        return {
            "mean": None if self.mean is None else numbers(self.mean, "--mean"),
            "scale": self.scale,
            "order": self.order,
            "size": None
            if self.size is None
            else [int(n) for n in numbers(self.size, "--size", 2)],
        }


def reasons_of(said: dict[str, Any]) -> dict[str, str]:
    """Which option said each value that was said."""
    return {name: f"--{name}" for name, value in said.items() if value is not None}
