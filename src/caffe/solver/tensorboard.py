"""A training's figures as event files of TensorBoard (extra ``tensorboard``)."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import require
from .solver import Solver
from .watching import Stepped, Watcher


class TensorBoard(Watcher):
    """Writes ``train/loss`` and ``train/lr`` of each step that the log tells of, and each test.

    Parameters
    ----------
    folder : path
        Where the event files go.
    solver : Solver
        Has been restored if it is to be.

    Raises
    ------
    MissingExtraError
        tensorboardX is not installed.
    """

    def __init__(self, folder: str, solver: Solver) -> None:
        writers = require("tensorboardX", "tensorboard", "event files of TensorBoard")
        self._every = not solver.param.display
        # What an earlier part wrote from here on counts no more.
        self._writer = writers.SummaryWriter(folder, purge_step=solver.iter or None)

    def stepped(self, step: Stepped) -> None:
        if step.is_shown or self._every:
            self._writer.add_scalar("train/loss", step.loss, step.iteration)
            self._writer.add_scalar("train/lr", step.rate, step.iteration)

    def tested(self, iteration: int, number: int, scores: Mapping[str, float]) -> None:
        for name, value in scores.items():
            self._writer.add_scalar(f"test{number or ''}/{name}", value, iteration)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
