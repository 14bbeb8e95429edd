"""A command has the options of its groups, in their place, and is given them as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from caffe.cli.option_groups import takes_groups


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(min=1, help="How wide.")] = 3
    height: Annotated[int | None, typer.Option("--height", "-y", help="How high.")] = None


@takes_groups
def measure(
    name: Annotated[str, typer.Argument()],
    before: bool = False,
    *,
    size: Size,
    unit: Annotated[str, typer.Option()] = "px",
) -> None:
    """Measure a thing."""
    print(name, before, size, unit)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a"], "a False Size(width=3, height=None) px"),
        (["a", "--width", "7", "-y", "2", "--before"], "a True Size(width=7, height=2) px"),
    ],
)
def test_groups_are_given_as_one(words: list[str], told: str) -> None:
    app = typer.Typer()
    app.command()(measure)
    assert CliRunner().invoke(app, words).stdout.strip() == told


def test_their_options_are_the_commands() -> None:
    app = typer.Typer()
    app.command()(measure)
    names = [option.name for option in typer.main.get_command(app).params]
    assert names[:5] == ["name", "before", "width", "height", "unit"]
    refused = CliRunner().invoke(app, ["a", "--width", "0"])
    assert refused.exit_code == 2
