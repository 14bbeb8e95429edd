"""`parse_log`: the figures of a training's log, as two tables.

The original's ``tools/extra/parse_log.py``.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ..atomic import atomic_write
from ..errors import ParseError, unreadable
from ..proto.contents import open_lines
from .command import run_tool

Row = dict[str, float]

_TIME = re.compile(r"[IWEF](?:\d{4})?(\d\d)(\d\d) +(\d+):(\d+):(\d+)(\.\d+)?")
_ITERATION = re.compile(r"Iteration (\d+)")
_RATE = re.compile(r"lr = ([-+.\deE]+)")
_OUTPUT = re.compile(r"(Train|Test) net output #(\d+): (\S+) = ([-+.\deE]+|-?nan|-?inf)")
_LEAP_YEAR = 2024


@dataclass
class Tables:
    """What a log tells: a row for each iteration that tells of outputs.

    Attributes
    ----------
    train, test : list of dict
        ``NumIters``, ``Seconds`` since the solver began, ``LearningRate``, and the outputs.
    """

    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)


def parse_log(
    logfile_path: Annotated[Path, typer.Argument(help="The log.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the two tables go.")],
    verbose: Annotated[bool, typer.Option("--verbose", help="Print them, too.")] = False,
    delimiter: Annotated[str, typer.Option(help="What stands between a table's columns.")] = ",",
) -> None:
    """Write a log's figures into LOG.train and LOG.test."""
    if len(delimiter) != 1:
        raise typer.BadParameter(f"--delimiter is one character, not {delimiter!r}")
    try:
        with open_lines(logfile_path, errors="replace") as file:
            tables = read_log(file)
    except OSError as error:
        what = f"the log cannot be read: {error.strerror}"
        raise unreadable(what, os.fspath(logfile_path), error) from error
    if not tables.train and not tables.test:
        raise ParseError("the log tells of no iteration's outputs", os.fspath(logfile_path))
    for kind, rows in (("train", tables.train), ("test", tables.test)):
        path = output_dir / f"{logfile_path.name}.{kind}"
        with atomic_write(path, "w") as stream:
            _write(stream, rows, delimiter)
        print(f"Wrote {path}")
        if verbose:
            for row in rows:
                print(row)


def read_log(lines: Iterable[str]) -> Tables:
    """Read the lines of a log."""
    tables = Tables()
    start = now = None
    iteration, rate = -1, math.nan
    for line in lines:
        now = _time(line, now) or now
        if start is None and "Solving" in line:
            start = now
        if found := _ITERATION.search(line):
            iteration = int(found[1])
        if found := _RATE.search(line):
            rate = float(found[1])
        if iteration == -1 or not (found := _OUTPUT.search(line)):
            continue
        rows = tables.train if found[1] == "Train" else tables.test
        if int(found[2]) == 0:
            seconds = (now - start).total_seconds() if now and start else math.nan
            rows.append({"NumIters": iteration, "Seconds": seconds, "LearningRate": rate})
        if rows:
            rows[-1][found[3]] = float(found[4])
    for rows in (tables.train, tables.test):
        _fill_first_rate(rows)
    return tables


def _time(line: str, before: datetime | None) -> datetime | None:
    """When a line was written; the year is none that anybody knows."""
    found = _TIME.match(line)
    if not found:
        return None
    month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5))
    year = before.year if before else _LEAP_YEAR
    try:
        when = datetime(year, month, day, hour, minute, second)
        when += timedelta(seconds=float(found[6] or 0))
        # A training that goes on over New Year's night.
        if before and before - when > timedelta(days=180):
            when = when.replace(year=year + 1)
    except ValueError:
        return None
    return when


def _fill_first_rate(rows: list[Row]) -> None:
    """The rate is told only after the first iteration's outputs."""
    if len(rows) > 1 and math.isnan(rows[0]["LearningRate"]):
        rows[0]["LearningRate"] = rows[1]["LearningRate"]


def _write(stream: object, rows: Sequence[Row], delimiter: str) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(stream, names, delimiter=delimiter, lineterminator="\n")  # type: ignore[arg-type]
    table.writeheader()
    table.writerows(rows)


def run() -> None:
    """Run the tool."""
    run_tool(parse_log)


if __name__ == "__main__":
    run()
