"""The `caffe` command and the tools, run in the tests' own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner

from caffe.cli.main import app
from caffe.tools.command import app_of


def caffe_command(*arguments: object, **options: Any) -> Any:
    """Return what the command says to these arguments; `options` are typer's runner's."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def tool(function: Callable[..., None], *arguments: object) -> Any:
    """Return what one of `caffe.tools` says to these arguments."""
    return CliRunner().invoke(app_of(function), [str(argument) for argument in arguments])
