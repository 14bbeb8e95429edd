"""What all subcommands have: the old way to write options, and numbers that are numbers.

The original Caffe's commands took their options as gflags does: with one dash or two, with ``=`` or
a space before the value, and ``_`` as good as ``-``.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, Protocol

import typer
from typer.core import TyperCommand

from ..errors import CaffeError
from .help import PlainHelp
from .interrupts import INTERRUPTED
from .terminal import complain, show_warning

BROKEN_PIPE = 141
MOST = 2**31 - 1
"""The largest number that an option takes: what the original's integers hold."""
YES, NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
LOGGING = ("logtostderr", "alsologtostderr", "minloglevel", "stderrthreshold", "log-dir")
"""Options of the original's logging library, which have no meaning here."""


class Option(Protocol):
    """What is used of an option of typer's."""

    name: str | None
    opts: list[str]
    secondary_opts: list[str]


@contextmanager
def failures_told(debug: bool, advice: str) -> Iterator[None]:
    """Tell every failure in one line on stderr, and warnings too.

    Parameters
    ----------
    debug : bool
        Let tracebacks through.
    advice : str
        How to see where an error comes from that is none of ours.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            yield
        sys.stdout.flush()
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
        hint = "" if known else f" ({advice} shows where)"
        complain(f"{name}{error}{hint}")
        raise typer.Exit(1) from error


def print_anything() -> None:
    """Let file names and labels be printed that the terminal's encoding has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Command(PlainHelp, TyperCommand):
    """A subcommand."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Understand what stands behind the command."""
        rest: list[str] = super().parse_args(ctx, as_today(args, self.params))
        for param in self.params:
            check_number(param.opts[-1], ctx.params.get(param.name or ""))
        return rest


def check_number(option: str, value: object) -> None:
    """Refuse what no option can mean.

    Raises
    ------
    typer.BadParameter
        It is no number (NaN), infinite or beyond `MOST`.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise typer.BadParameter(f"{option} takes a finite number, not {value}")
    if isinstance(value, int | float) and abs(value) > MOST:
        raise typer.BadParameter(f"{option} takes no number beyond {MOST}")


def as_today(words: Sequence[str], options: Iterable[Any]) -> list[str]:
    """Write the options among a command's words as typer takes them.

    Parameters
    ----------
    words : sequence of str
        What stands behind the command's name.
    options : iterable of Option
        The command's; others are left as they are, for typer to refuse.
    """
    shorts, longs = _by_name(options)
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*found, word, *rest]
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if not word.startswith("-") or word.startswith("---"):
            found.append(word)
        elif word in shorts:
            found.append(word)
            if not _is_flag(shorts[word]):
                found += [value for value in [next(rest, None)] if value is not None]
        elif name in longs:
            written, option = longs[name]
            if _is_flag(option):
                found += _flag(written, option, equals, value)
            elif equals:
                found.append(f"{written}={value}")
            else:
                found += [written, *(value for value in [next(rest, None)] if value is not None)]
        elif name in LOGGING:
            if not equals and name not in LOGGING[:2]:
                next(rest, None)
        elif name.startswith("no") and name[2:] in longs and _is_flag(longs[name[2:]][1]):
            found += _flag(*longs[name[2:]], "=", "false")
        else:
            found.append(word)
    return found


def _by_name(options: Iterable[Any]) -> tuple[dict[str, Option], dict[str, tuple[str, Option]]]:
    """Options by their short names with the dash, and by their long ones without."""
    shorts: dict[str, Option] = {}
    longs: dict[str, tuple[str, Option]] = {}
    for option in options:
        for written in (*option.opts, *option.secondary_opts):
            if written.startswith("--"):
                longs[written[2:].replace("_", "-")] = (written, option)
            elif written.startswith("-"):
                shorts[written] = option
    return shorts, longs


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False) or getattr(option, "count", False))


def _flag(written: str, option: Option, equals: str, value: str) -> list[str]:
    """A flag as typer takes it, which may have been given a value."""
    if not equals or value.lower() in YES:
        return [written]
    if value.lower() in NO:
        return option.secondary_opts[:1]
    raise typer.BadParameter(f"{written} is on or off (true or false), not {value!r}")
