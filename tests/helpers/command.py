"""The `caffe` command, run in the tests' own process."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from caffe.cli.main import app


def caffe_command(*arguments: object, **options: Any) -> Any:
    """Return what the command says to these arguments; `options` are typer's runner's."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)
