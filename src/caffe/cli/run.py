"""`caffe run`: a Python program, with this Caffe as the one that it imports."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import MissingFileError
from ..pytorch import stay_for_good
from . import loading
from .commands import Command


class RunCommand(Command):
    """What stands behind the program's name is the program's, to the letter."""

    allow_interspersed_args = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Pass everything on as it is."""
        rest: list[str] = TyperCommand.parse_args(self, ctx, args)
        return rest


KIND = RunCommand


def run_script(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="The program, a .py file.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]", help="What it is to be told.")
    ] = None,
) -> None:
    """Run a Python program whose `import caffe` is to be Recaffe.

    Many of Caffe's programs put the `python` folder of a checkout first on the path, whose Caffe
    is not compiled. Here Recaffe is imported already, and stays.

    Try it: caffe run python/classify.py --help
    """
    if not Path(script).is_file():
        raise MissingFileError("there is no such program", script)
    loading.end()
    stay_for_good(False)
    sys.argv = [script, *(arguments or ())]
    # As Python does it.
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        runpy.run_path(script, run_name="__main__")
    except Exception as error:
        traceback.print_exception(type(error), error, _of_program(error.__traceback__))
        raise typer.Exit(1) from error


def _of_program(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that a plain ``python SCRIPT`` would show."""
    while trace is not None and _is_machinery(trace.tb_frame):
        trace = trace.tb_next
    return trace


def _is_machinery(frame: FrameType) -> bool:
    # A frozen module has no file.
    return frame.f_code.co_filename in (__file__, runpy.__file__, "<frozen runpy>")
