"""How losses, rates and scores went, read from a training's log or its table."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable

from ..errors import ParseError, unreadable
from ..paths import PathLike, path_text
from ..proto.contents import open_lines

Curve = list[tuple[int, float]]
"""Iterations, and a value at each."""

_ITERATION = re.compile(r"\] Iteration (\d+)(?:.*?, (loss|lr) = (\S+))?")
_SCORE = re.compile(r"Test net output #\d+: (\S+) = (\S+)")
_NET = re.compile(r"Testing net \(#(\d+)\)")


def read_curves(path: PathLike) -> dict[str, Curve]:
    """Read a log, or a table that ``caffe train --csv`` wrote.

    Returns
    -------
    dict of str to Curve
        ``loss`` (smoothed), ``lr``, and ``test NAME`` for the tests' outputs, of further nets that
        test ``test1 NAME`` and so on.

    Raises
    ------
    ParseError
        The file cannot be read, or tells nothing of a training.
    """
    source = path_text(path)
    try:
        with open_lines(source, errors="replace", newline="") as file:
            lines = file.read().splitlines()
    except OSError as error:
        what = f"the log cannot be read: {error.strerror}"
        raise unreadable(what, os.fspath(source), error) from error
    is_table = bool(lines) and lines[0].startswith("iteration,")
    curves = _of_table(lines) if is_table else _of_log(lines)
    if not curves:
        raise ParseError("this tells of no iteration's loss, rate or scores", source)
    return curves


def _of_table(lines: Iterable[str]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for row in csv.DictReader(lines):
        for name, value in row.items():
            is_curve = name in ("loss", "lr") or (name or "").startswith("test")
            if is_curve and value:
                _add(curves, name, row["iteration"] or "", value)
    return curves


def _of_log(lines: Iterable[str]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    iteration, net = "", "0"
    for line in lines:
        if found := _ITERATION.search(line):
            iteration = found[1]
            if found[2]:
                _add(curves, found[2], iteration, found[3])
        if found := _NET.search(line):
            net = found[1]
        if found := _SCORE.search(line):
            _add(curves, f"test{'' if net == '0' else net} {found[1]}", iteration, found[2])
    return curves


def _add(curves: dict[str, Curve], name: str, iteration: str, value: str) -> None:
    try:
        point = int(iteration), float(value)
    except ValueError:
        # A line that was cut off.
        return
    curves.setdefault(name, []).append(point)
