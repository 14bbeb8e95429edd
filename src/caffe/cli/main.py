"""The `caffe` command: its subcommands, and what becomes of errors.

Nothing here or in a command's module imports PyTorch before a command needs it, so that
``caffe --help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..version import __version__
from .classify import classify
from .commands import Command, failures_told, print_anything
from .detect import detect
from .device_query import device_query
from .diff import diff
from .draw import draw
from .look import look
from .models import fetch, zoo
from .plot import plot
from .serve import serve
from .show import show
from .test import run_test
from .time import time_net
from .train import train
from .upgrade import upgrade


class Commands(TyperGroup):
    """The subcommands, with every failure told in one line on stderr."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let the subcommand stand behind its options too, as in ``caffe -gpu 0 time``."""
        own = {name for option in self.get_params(ctx) for name in option.opts}
        if args and args[0].startswith("-") and args[0].partition("=")[0] not in own:
            named = next((i for i, word in enumerate(args) if word in self.commands), None)
            if named is not None:
                args = [args[named], *args[:named], *args[named + 1 :]]
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def invoke(self, ctx: Any) -> Any:
        with failures_told(bool(ctx.params.get("debug")), "caffe --debug COMMAND"):
            return super().invoke(ctx)


app = typer.Typer(
    name="caffe",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for function in (classify, detect, diff, draw, fetch, zoo, serve, look, plot, show, train, upgrade):
    app.command(cls=Command)(function)
app.command("device_query", cls=Command)(device_query)
app.command("device-query", cls=Command, hidden=True)(device_query)
app.command("test", cls=Command)(run_test)
app.command("time", cls=Command)(time_net)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"recaffe {__version__}")
        raise typer.Exit


@app.callback()
def caffe(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="CAFFE_DEBUG", help="Show tracebacks of errors."),
    ] = False,
) -> None:
    """Caffe for today's Python: run Caffe models from the command line.

    Try it: caffe classify cat.jpg
    """


def run() -> None:
    """Run the command line that Python was started with, and exit with its status."""
    print_anything()
    app()
