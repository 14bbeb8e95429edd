"""A training on a terminal: one line that lives, and above it what stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..solver.watching import Stepped, Watcher

if TYPE_CHECKING:
    from ..solver import Solver


class LiveLine(Watcher):
    """Shows loss, learning rate, speed, remaining time and the last scores; tests stay above it.

    Parameters
    ----------
    console : Console
        The terminal.
    solver : Solver
        Has been restored if it is to be.
    """

    def __init__(self, console: Console, solver: Solver) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[scores]}", style="dim"),
            console=console,
            transient=True,
        )
        self._task = self._bars.add_task(
            "Training", total=solver.param.max_iter, completed=solver.iter, speed="", scores=""
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the line."""
        with self._bars:
            yield

    def stepped(self, step: Stepped) -> None:
        speed = self._bars.tasks[0].speed
        self._bars.update(
            self._task,
            completed=step.iteration + 1,
            description=f"loss {step.loss:.4g}, lr {step.rate:.3g}",
            speed=f"{speed:.1f} iter/s" if speed else "",
        )

    def tested(self, iteration: int, number: int, scores: Mapping[str, float]) -> None:
        told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self._bars.console.print(
            f"iteration {iteration}, test{number or ''}: {told}", markup=False, highlight=False
        )
        self._bars.update(self._task, scores=told)

    def kept(self, iteration: int, state_file: str) -> None:
        self._bars.console.print(
            f"iteration {iteration}, kept {state_file}", markup=False, highlight=False
        )
