"""How a function becomes a tool that is called by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import typer

from ..cli.commands import Command, failures_told, print_anything

DEBUG = "CAFFE_DEBUG"


class Tool(Command):
    """A command by itself, with every failure told in one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        with failures_told(bool(os.environ.get(DEBUG)), f"{DEBUG}=1"):
            return super().invoke(ctx)


def app_of(function: Callable[..., None]) -> typer.Typer:
    """The function as a command line."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command(cls=Tool)(function)
    return app


def run_tool(function: Callable[..., None]) -> None:
    """Run the function on the command line that Python was started with, and exit."""
    print_anything()
    app_of(function)()
