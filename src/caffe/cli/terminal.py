"""What the commands print: complaints, columns, probabilities and progress."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from ..errors import CaffeWarning
from .advice import as_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BAR_WIDTH = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"


def complain(message: str) -> None:
    """Print one line on stderr, after the program's name."""
    print(f"caffe: {one_line(as_options(message))}", file=sys.stderr, flush=True)


def one_line(message: object) -> str:
    """Fold a message's lines into one, without the caret that marks a column."""
    lines = [line.strip() for line in str(message).splitlines()]
    return " | ".join(line for line in lines if line not in ("", "^"))


_default_show = warnings.showwarning


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """`warnings.showwarning` that gives ours in one line, without the place in the code."""
    if issubclass(category, CaffeWarning):
        complain(f"warning: {message}")
    else:
        _default_show(message, category, filename, lineno, file, line)


def say(out: Console, lines: Iterable[Text]) -> None:
    """Print lines on a console, or in a pipe."""
    for line in lines:
        # Not through rich in a pipe: it has exit code 1 for a reader that went away.
        if out.is_terminal:
            out.print(line, soft_wrap=True)
        else:
            print(line.plain, flush=True)


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns aligned, on a terminal and in a pipe alike."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def readable_size(size: int | None) -> str:
    """A number of bytes in MB, as the pages of models give it."""
    return "" if size is None else f"{size / 1e6:.1f} MB"


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar for a value from 0 to 1, padded to its full width."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(width)


@contextmanager
def progress(
    title: str, total: int | None, items: str
) -> Iterator[tuple[Console, Callable[[], None]]]:
    """A progress bar on stderr where that is a terminal and there are many items.

    `total` is None where nobody knows how many there are; `items` is what they are called, for
    their number per second.

    Yields
    ------
    console : Console
        Where results are to be printed while the bar stands.
    advance : callable
        Called after each item.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many items a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} {items}/s" if task.speed else "")

    out, err = Console(highlight=False), Console(stderr=True)
    if not err.is_terminal or (total is not None and total < 2):
        yield out, lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(
        *columns, TimeRemainingColumn(), console=err, transient=True, redirect_stdout=False
    ) as bars:
        task = bars.add_task(title, total=total)
        # On one and the same screen only the bar's own console prints above it.
        yield (err if out.is_terminal else out), lambda: bars.advance(task)


@contextmanager
def share_shown(title: str, least: int) -> Iterator[Callable[[int, int], None]]:
    """Show the share of a work that is done, where the whole is at least so much.

    Yields
    ------
    tell : callable
        Called with how much is done, and with the whole.
    """
    shown = 0

    with progress(title, 100, "%") as (_, advance):

        def tell(done: int, whole: int) -> None:
            nonlocal shown
            while whole >= least and shown < done * 100 // whole:
                shown += 1
                advance()

        yield tell
