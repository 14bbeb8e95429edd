"""The likeliest classes of each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..classifier import BATCH, CROPS, Classifier
from ..errors import ShapeError, require
from ..predictions import Predictions
from ..uploads import Items
from .tasks import Task, names_facts, pixels_of


@dataclass(frozen=True, kw_only=True)
class Classifying(Task):
    """Name what is in pictures.

    Attributes
    ----------
    labels : tuple of str or None
        What the classes are called.
    top : int
        How many classes a picture has at most.
    least : float or None
        Leave out classes that are less probable.
    oversample : bool
        Average over ten crops.
    batch : int
        How many pictures go through at once.
    """

    name = "classify"

    labels: tuple[str, ...] | None = None
    top: int = 5
    least: float | None = None
    oversample: bool = False
    batch: int = BATCH

    def own_facts(self) -> dict[str, Any]:
        return {
            "labels": names_facts(self.labels),
            "top": self.top,
            "min_probability": self.least,
            "oversample": self.oversample,
        }

    def open(self) -> OpenClassifying:
        return OpenClassifying(self)


class OpenClassifier:
    """What tasks have in common that are done by a classifier, with its net loaded.

    Parameters
    ----------
    task : Task
        The task.
    batch : int
        How many crops go through at once.
    oversample : bool
        Take ten crops of each picture.
    """

    def __init__(self, task: Task, batch: int, oversample: bool = False) -> None:
        task.arithmetic.use()
        with task.model.at_hand() as (net, weights):
            self.net = Classifier(net, weights)
        self.net.recipe = task.recipe
        each = CROPS if oversample else 1
        self.at_once = max(1, batch // each)
        self.net.make_room(self.at_once * each)
        self.metadata: dict[str, str] = {}
        self._color = self.net.recipe.color
        self._prepared = self.net.preparer(oversample)

    def prepare(self, content: bytes, name: str) -> Items:
        return self._prepared(*pixels_of(content, name, self._color))


class OpenClassifying(OpenClassifier):
    """See `Classifying`."""

    def __init__(self, task: Classifying) -> None:
        super().__init__(task, task.batch, task.oversample)
        self._task = task

    def run(self, prepared: Sequence[Items]) -> list[Predictions]:
        task = self._task
        found = []
        for rows in self.net.run_prepared(prepared):
            for row in rows.reshape(len(rows), -1):
                if task.labels is not None and len(task.labels) != len(row):
                    raise ShapeError(
                        f"the labels name {len(task.labels)} classes, but the net has "
                        f"{len(row)} values per picture"
                    )
                found.append(Predictions.of_scores(row, task.labels, task.top, task.least))
        return found

    def columns(self, rows: Sequence[Predictions | None]) -> dict[str, Any]:
        arrow = require("pyarrow", "parquet", "a Parquet file")
        named = self._task.labels is not None
        listed = [None if row is None else row.to_dicts() for row in rows]

        def column(name: str, kind: Any) -> Any:
            values = [row and [entry[name] for entry in row] for row in listed]
            return arrow.array(values, arrow.list_(kind))

        columns = {"indices": column("index", arrow.int32())}
        if named:
            columns["labels"] = column("label", arrow.string())
        columns["probabilities"] = column("probability", arrow.float32())
        return columns
