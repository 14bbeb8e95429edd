"""What a blob holds for each picture: features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classifier import BATCH, without_last_ones
from ..errors import require
from ..net.checks import known_blobs
from ..uploads import Items
from .classifying import OpenClassifier
from .tasks import Task

COLUMN = "features"


@dataclass(frozen=True, kw_only=True)
class Extracting(Task):
    """Keep what a blob holds.

    Attributes
    ----------
    blob : str or None
        The blob's name; that of `Classifier.feature_blob` if nothing is said.
    batch : int
        How many pictures go through at once.
    """

    name = "extract"

    blob: str | None = None
    batch: int = BATCH

    def own_facts(self) -> dict[str, Any]:
        return {"blob": self.blob}

    def open(self) -> OpenExtracting:
        return OpenExtracting(self)


class OpenExtracting(OpenClassifier):
    """See `Extracting`."""

    def __init__(self, task: Extracting) -> None:
        super().__init__(task, task.batch)
        self._blob = task.blob or self.net.feature_blob()
        known_blobs([self._blob], self.net.blobs)
        # One picture of zeros says what shape rows have, also where no picture can be read.
        shape = tuple(self.net.blobs[self.net.inputs[0]].shape)
        (row,) = self.run([np.zeros((1, *shape[1:]), np.float32)])
        self._size = row.size
        self.metadata = {"blob": self._blob, "shape": ",".join(map(str, row.shape))}

    def run(self, prepared: Sequence[Items]) -> list[NDArray[np.float32]]:
        return [
            row
            for rows in self.net.run_prepared(prepared, self._blob)
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
