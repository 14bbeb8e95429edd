"""The likeliest classes of each picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classifier import BATCH, CROPS, Classifier
from ..errors import ShapeError, require
from ..io.recipe import PictureRecipe
from ..predictions import Predictions
from .model_files import ModelFiles
from .tasks import AS_IT_IS, Arithmetic, pixels_of


@dataclass(frozen=True)
class Classifying:
    """Name what is in pictures.

    Attributes
    ----------
    model : ModelFiles
        The net.
    recipe : PictureRecipe
        How pictures go in.
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
    arithmetic : Arithmetic
        By what is computed.
    """

    model: ModelFiles
    recipe: PictureRecipe
    labels: tuple[str, ...] | None = None
    top: int = 5
    least: float | None = None
    oversample: bool = False
    batch: int = BATCH
    arithmetic: Arithmetic = AS_IT_IS

    def facts(self) -> dict[str, Any]:
        return {
            "task": "classify",
            "model": self.model.facts(),
            "recipe": recipe_facts(self.recipe),
            "labels": names_facts(self.labels),
            "top": self.top,
            "min_probability": self.least,
            "oversample": self.oversample,
            "precision": self.arithmetic.precision or "float32",
        }

    def packed(self) -> Classifying:
        return replace(self, model=self.model.packed())

    def open(self) -> OpenClassifying:
        return OpenClassifying(self)


class OpenClassifying:
    """See `Classifying`."""

    def __init__(self, task: Classifying) -> None:
        self._task = task
        self._net = opened_classifier(task.model, task.recipe, task.arithmetic)
        self.at_once = max(1, task.batch // CROPS) if task.oversample else task.batch
        self._net.make_room(self.at_once * (CROPS if task.oversample else 1))
        self._color = self._net.recipe.color
        self.metadata: dict[str, str] = {}

    def prepare(self, content: bytes, name: str) -> NDArray[np.float32]:
        pixels, white = pixels_of(content, name, self._color)
        return self._net.prepare(pixels, self._task.oversample, white)

    def run(self, prepared: Sequence[NDArray[np.float32]]) -> list[Predictions]:
        task = self._task
        found = []
        for rows in self._net.run_prepared(prepared):
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


def opened_classifier(
    model: ModelFiles, recipe: PictureRecipe, arithmetic: Arithmetic
) -> Classifier:
    """Load a classifier that takes pictures by a recipe."""
    arithmetic.use()
    with model.at_hand() as (net, weights):
        classifier = Classifier(net, weights)
    classifier.recipe = recipe
    return classifier


def recipe_facts(recipe: PictureRecipe) -> dict[str, Any]:
    """Return what a recipe does to pictures, as JSON can have it; the reasons are left out."""
    facts = asdict(recipe)
    del facts["reasons"]
    mean = facts["mean"]
    if isinstance(mean, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(mean, "<f4").tobytes()).hexdigest()
        facts["mean"] = {"shape": list(mean.shape), "sha256": digest}
    for name, value in facts.items():
        if isinstance(value, tuple):
            facts[name] = list(value)
    return facts


def names_facts(names: Sequence[str] | None) -> dict[str, Any] | None:
    """Return what tells a list of classes from another, as JSON can have it."""
    if names is None:
        return None
    digest = hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()
    return {"count": len(names), "sha256": digest}
