"""What a blob holds for each picture: features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classifier import BATCH, without_last_ones
from ..errors import require
from ..io.recipe import PictureRecipe
from ..net.checks import known_blobs
from .classifying import opened_classifier, recipe_facts
from .model_files import ModelFiles
from .tasks import AS_IT_IS, Arithmetic, pixels_of

COLUMN = "features"


@dataclass(frozen=True)
class Extracting:
    """Keep what a blob holds.

    Attributes
    ----------
    model, recipe, batch, arithmetic
        See `Classifying`.
    blob : str or None
        The blob's name; that of `Classifier.feature_blob` if nothing is said.
    """

    model: ModelFiles
    recipe: PictureRecipe
    blob: str | None = None
    batch: int = BATCH
    arithmetic: Arithmetic = AS_IT_IS

    def facts(self) -> dict[str, Any]:
        return {
            "task": "extract",
            "model": self.model.facts(),
            "recipe": recipe_facts(self.recipe),
            "blob": self.blob,
            "precision": self.arithmetic.precision or "float32",
        }

    def packed(self) -> Extracting:
        return replace(self, model=self.model.packed())

    def open(self) -> OpenExtracting:
        return OpenExtracting(self)


class OpenExtracting:
    """See `Extracting`."""

    def __init__(self, task: Extracting) -> None:
        self._net = opened_classifier(task.model, task.recipe, task.arithmetic)
        self._blob = task.blob or self._net.feature_blob()
        known_blobs([self._blob], self._net.blobs)
        self.at_once = task.batch
        self._net.make_room(task.batch)
        self._color = self._net.recipe.color
        # One picture of zeros says what shape rows have, also where no picture can be read.
        shape = tuple(self._net.blobs[self._net.inputs[0]].shape)
        (row,) = self.run([np.zeros((1, *shape[1:]), np.float32)])
        self._size = row.size
        told = {"blob": self._blob, "shape": ",".join(map(str, row.shape))}
        self.metadata = told

    def prepare(self, content: bytes, name: str) -> NDArray[np.float32]:
        pixels, white = pixels_of(content, name, self._color)
        return self._net.prepare(pixels, False, white)

    def run(self, prepared: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [
            row
            for rows in self._net.run_prepared(prepared, self._blob)
            for row in without_last_ones(rows)
        ]

    def columns(self, rows: Sequence[NDArray[np.float32] | None]) -> dict[str, Any]:
        arrow = require("pyarrow", "parquet", "a Parquet file")
        flat = np.zeros((len(rows), self._size), np.float32)
        for place, row in zip(flat, rows, strict=True):
            if row is not None:
                place[...] = row.reshape(-1)
        lists = arrow.FixedSizeListArray.from_arrays(
            arrow.array(flat.reshape(-1)), self._size, mask=arrow.array([r is None for r in rows])
        )
        return {COLUMN: lists}
