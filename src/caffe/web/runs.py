"""Trainings that are watched: the logs and tables that the command line names, as they grow."""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CaffeError
from ..io.curves import Curve, read_curves
from .refusals import Refusal

ENDINGS = (".log", ".csv", ".txt")
MOST_RUNS = 50
MOST_BYTES = 64 << 20
MOST_POINTS = 800


@dataclass(frozen=True)
class Run:
    """A file of a training."""

    name: str
    path: Path
    size: int
    changed: float

    @property
    def version(self) -> str:
        """What changes with the file."""
        return f"{self.size}-{self.changed}"


class Runs:
    """The trainings in some files and folders, which may grow, come and go.

    Parameters
    ----------
    places : sequence of Path
        Logs, tables, or folders of them; nothing else is read.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = places
        self._last: dict[str, tuple[str, dict[str, Any]]] = {}

    @property
    def watched(self) -> bool:
        """Whether any were named."""
        return bool(self._places)

    def list(self) -> list[Run]:
        """What is there now, the newest first."""
        found: dict[str, Run] = {}
        for place in self._places:
            if place.is_dir():
                paths = [path for path in place.iterdir() if path.suffix.lower() in ENDINGS]
                # A link could lead out of the folder that was named.
                paths = [path for path in paths if not path.is_symlink()]
            else:
                paths = [place]
            for path in paths:
                try:
                    facts = os.stat(path)
                except OSError:
                    continue
                if not stat.S_ISREG(facts.st_mode):
                    continue
                name = path.name if path.name not in found else f"{place.name}: {path.name}"
                found[name] = Run(name, path, facts.st_size, facts.st_mtime)
        newest = sorted(found.values(), key=lambda run: -run.changed)
        return newest[:MOST_RUNS]

    def curves(self, name: str) -> dict[str, Any]:
        """How one of them went.

        Raises
        ------
        Refusal
            There is no such run (404), or its file tells of no training (422).
        """
        run = next((run for run in self.list() if run.name == name), None)
        if run is None:
            raise Refusal(404, "no_run", f"there is no run '{name}'")
        version, answer = self._last.get(name, ("", {}))
        if version != run.version:
            answer = self._read(run)
            # Of a folder in which files come and go no more is kept than is shown.
            if len(self._last) >= MOST_RUNS:
                self._last.clear()
            self._last[name] = run.version, answer
        return {**answer, "seconds_ago": round(max(0.0, time.time() - run.changed), 1)}

    @staticmethod
    def _read(run: Run) -> dict[str, Any]:
        if run.size > MOST_BYTES:
            most = f"{MOST_BYTES >> 20} MiB"
            raise Refusal(422, "no_curves", f"'{run.name}' has more than the {most} that are read")
        try:
            curves = read_curves(run.path)
        except CaffeError as error:
            # Its text names the file with its folders, which are nobody else's business.
            reason = f"'{run.name}' tells of no iteration's loss, rate or scores yet"
            raise Refusal(422, "no_curves", reason) from error
        return {
            "name": run.name,
            "version": run.version,
            "iteration": max(curve[-1][0] for curve in curves.values()),
            "curves": {name: thinned(curve) for name, curve in curves.items()},
        }


def thinned(curve: Curve) -> list[list[Any]]:
    """A curve of no more points than a page can show, the last among them.

    Of the points that lie together the least and the most stay, so that no peak is lost.
    """
    if len(curve) > MOST_POINTS:
        each = math.ceil(len(curve) / (MOST_POINTS // 2))
        some: set[int] = {0, len(curve) - 1}
        for start in range(0, len(curve), each):
            part = range(start, min(start + each, len(curve)))
            some.add(min(part, key=lambda i: _sortable(curve[i][1])))
            some.add(max(part, key=lambda i: _sortable(curve[i][1])))
        curve = [curve[i] for i in sorted(some)]
    return [[at, value if math.isfinite(value) else None] for at, value in curve]


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else 0.0
