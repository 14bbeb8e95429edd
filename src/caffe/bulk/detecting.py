"""The objects in each picture, with their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..detect.annotations import Searched
from ..detect.object_detector import ObjectDetector
from ..errors import CaffeError, require
from ..io.recipe import Frame
from .tasks import Task, names_facts, pixels_of


@dataclass(frozen=True, kw_only=True)
class Detecting(Task):
    """Find objects.

    Attributes
    ----------
    names : tuple of str or None
        What the classes are called.
    anchors : tuple of float or None
        See `ObjectDetector`.
    threshold : float
        The least score.
    """

    name = "detect"

    names: tuple[str, ...] | None = None
    anchors: tuple[float, ...] | None = None
    threshold: float = 0.5

    def own_facts(self) -> dict[str, Any]:
        return {
            "labels": names_facts(self.names),
            "anchors": None if self.anchors is None else list(self.anchors),
            "threshold": self.threshold,
        }

    def open(self) -> OpenDetecting:
        return OpenDetecting(self)


class OpenDetecting:
    """See `Detecting`."""

    at_once = 1

    def __init__(self, task: Detecting) -> None:
        task.arithmetic.use()
        self._threshold = task.threshold
        with task.model.at_hand() as (net, weights):
            self._detector = ObjectDetector(net, weights, task.names, anchors=task.anchors)
        self._detector.preparation = task.recipe
        self.metadata: dict[str, str] = {}

    def prepare(self, content: bytes, name: str) -> tuple[Any, Frame]:
        pixels, white = pixels_of(content, name, True)
        picture = np.divide(pixels, np.float32(white), dtype=np.float32)
        return self._detector.prepare(picture)

    def run(self, prepared: Sequence[tuple[Any, Frame]]) -> list[Searched | CaffeError]:
        rows: list[Searched | CaffeError] = []
        for blob, frame in prepared:
            try:
                found = self._detector.detect_prepared(blob, frame, self._threshold)
                rows.append(Searched("", *frame.size, found, 0.0))
            # Pictures of any size may go in, so that it can be this one's fault.
            except CaffeError as error:
                rows.append(error)
        return rows

    def columns(self, rows: Sequence[Searched | None]) -> dict[str, Any]:
        arrow = require("pyarrow", "parquet", "a Parquet file")

        def lists(of: str, kind: Any) -> Any:
            values = [None if r is None else [getattr(d, of) for d in r.found] for r in rows]
            return arrow.array(values, arrow.list_(kind))

        sizes = {
            name: arrow.array(
                [None if r is None else getattr(r, name) for r in rows], arrow.int32()
            )
            for name in ("width", "height")
        }
        return {
            **sizes,
            "labels": lists("label", arrow.int32()),
            "names": lists("name", arrow.string()),
            "scores": lists("score", arrow.float32()),
            "boxes": lists("box", arrow.list_(arrow.float32(), 4)),
        }
