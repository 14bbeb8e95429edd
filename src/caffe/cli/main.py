"""The `caffe` command: its subcommands, and what becomes of errors.

Nothing here or in a command's module imports PyTorch before a command needs it, so that
``caffe --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import CaffeError
from ..version import __version__
from .classify import classify
from .commands import Command
from .detect import detect
from .device_query import device_query
from .diff import diff
from .draw import draw
from .look import look
from .models import fetch, zoo
from .serve import serve
from .show import show
from .terminal import complain, show_warning
from .time import time_net
from .upgrade import upgrade

INTERRUPTED = 130
BROKEN_PIPE = 141


class Commands(TyperGroup):
    """The subcommands, with every failure told in one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        debug = bool(ctx.params.get("debug"))
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show_warning
                result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt as error:
            complain("interrupted")
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:
            # Whoever read the output has seen enough; Python's last flush must not complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from error
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            # What has an exit code is about the command line, and typer's to show.
            if debug or hasattr(error, "exit_code"):
                raise
            known = isinstance(error, CaffeError)
            name = "" if known else f"{type(error).__name__}: "
            hint = "" if known else " (caffe --debug COMMAND shows where)"
            complain(f"{name}{error}{hint}")
            raise typer.Exit(1) from error


app = typer.Typer(
    name="caffe",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for function in (classify, detect, diff, draw, fetch, zoo, serve, look, show, upgrade):
    app.command(cls=Command)(function)
app.command("device_query", cls=Command)(device_query)
app.command("device-query", cls=Command, hidden=True)(device_query)
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
    for stream in (sys.stdout, sys.stderr):
        # File names and labels may hold characters that the terminal's encoding has not.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
