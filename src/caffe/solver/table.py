"""A training's figures as a table (CSV)."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping

from ..atomic import atomic_write
from ..errors import CaffeError, WriteError
from .solver import Solver
from .testing import outputs_of
from .watching import Stepped, Watcher

FIRST = ("iteration", "seconds", "lr", "loss")


class Table(Watcher):
    """Writes a row for each step that the log tells of, and for each test.

    Columns are ``iteration``, ``seconds`` since the start, ``lr``, the smoothed ``loss``, then
    ``train NAME`` and ``test NAME`` for the nets' outputs of one number; of several nets that test
    ``test1 NAME`` and so on from the second. Every row is in the file as soon as it is known. A
    training that goes on from a snapshot goes on with its table, too.

    Parameters
    ----------
    path : path
        The file.
    solver : Solver
        Has been restored if it is to be.

    Raises
    ------
    CaffeError
        The training goes on, but the file's columns are others.
    WriteError
        The file cannot be written.
    """

    def __init__(self, path: str, solver: Solver) -> None:
        self._solver = solver
        self._every = not solver.param.display
        self._start = time.perf_counter()
        names = [*FIRST, *(f"train {name}" for name in solver.net.outputs)]
        for number, net in enumerate(solver.test_nets):
            names += [_test_name(number, name) for name in net.outputs]
        rows = _rows_before(path, names, solver.iter) if solver.iter else []
        with atomic_write(path, "w") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([names, *rows])
        try:
            self._stream = open(path, "a", encoding="utf-8", newline="")  # noqa: SIM115
        except OSError as error:
            raise WriteError(path, error) from error
        self._writer = csv.DictWriter(self._stream, names, lineterminator="\n")

    def stepped(self, step: Stepped) -> None:
        if not step.is_shown and not self._every:
            return
        row: dict[str, object] = {"lr": f"{step.rate:.7g}", "loss": f"{step.loss:.9g}"}
        for name, value, _ in reversed(list(outputs_of(self._solver.net))):
            row[f"train {name}"] = f"{value:.7g}"
        self._write(step.iteration, row)

    def tested(self, iteration: int, number: int, scores: Mapping[str, float]) -> None:
        row = {_test_name(number, name): f"{value:.7g}" for name, value in scores.items()}
        self._write(iteration, row)

    def close(self) -> None:
        self._stream.close()

    def _write(self, iteration: int, row: Mapping[str, object]) -> None:
        seconds = f"{time.perf_counter() - self._start:.3f}"
        self._writer.writerow({"iteration": iteration, "seconds": seconds, **row})
        self._stream.flush()


def _test_name(number: int, name: str) -> str:
    return f"test{number or ''} {name}"


def _rows_before(path: str, names: list[str], iteration: int) -> list[list[str]]:
    """The rows of an earlier part of the training, up to where it goes on."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = [*csv.reader(file)] or [names]
    if header != names:
        raise CaffeError(f"{path}: this is no table of this training; name another file")
    return [row for row in rows if row and row[0].isdigit() and int(row[0]) < iteration]
