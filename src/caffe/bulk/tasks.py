"""What is to be made of each picture: a task, and what it becomes once its net is loaded."""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from typing_extensions import Self

from ..io.given import read_given
from ..io.recipe import PictureRecipe
from .model_files import ModelFiles

QUICK = "quick"
"""The engine that `quick_engine` says in the process that computes."""


@dataclass(frozen=True)
class Arithmetic:
    """By what a process computes; it does not change what rows mean, but for the precision.

    Attributes
    ----------
    gpu : int or None
        The GPU; None for the CPU.
    precision, engine : str or None
        See `caffe.set_precision` and `caffe.set_engine`, also `QUICK`; as they are where None.
    """

    gpu: int | None = None
    precision: str | None = None
    engine: str | None = None

    def use(self) -> None:
        """Compute so from now on.

        Raises
        ------
        CaffeError
            There is no such GPU, precision or engine, or not here.
        """
        from .. import mode
        from ..engine.usual import quick_engine

        if self.gpu is not None:
            mode.set_gpu(self.gpu)
        if self.precision is not None:
            mode.set_precision(self.precision)
        if self.engine is not None:
            mode.set_engine(quick_engine() if self.engine == QUICK else self.engine)


AS_IT_IS = Arithmetic()


@dataclass(frozen=True)
class Task(ABC):
    """What is to be made of each picture. It can be pickled.

    Attributes
    ----------
    model : ModelFiles
        The net.
    recipe : PictureRecipe
        How pictures go in.
    arithmetic : Arithmetic
        By what is computed.
    """

    name: ClassVar[str]
    """What it is called where a run is written down."""

    model: ModelFiles
    recipe: PictureRecipe
    arithmetic: Arithmetic = AS_IT_IS

    def facts(self) -> dict[str, Any]:
        """Return all that decides what the rows hold, as JSON can have it."""
        return {
            "task": self.name,
            "model": self.model.facts(),
            "recipe": recipe_facts(self.recipe),
            **self.own_facts(),
            "precision": self.arithmetic.precision or "float32",
        }

    @abstractmethod
    def own_facts(self) -> dict[str, Any]:
        """Return what decides it beside net, recipe and precision."""

    def packed(self) -> Self:
        """Return the same task for machines that have none of its files."""
        return replace(self, model=self.model.packed())

    @abstractmethod
    def open(self) -> OpenTask:
        """Load the net."""


class OpenTask(Protocol):
    """A task with its net loaded.

    Attributes
    ----------
    at_once : int
        How many pictures go through the net together.
    metadata : dict of str to str
        Goes into each file of rows.
    """

    at_once: int
    metadata: dict[str, str]

    def prepare(self, content: bytes, name: str) -> Any:
        """Make of a picture's bytes what the net takes; threads may do so at once.

        Raises
        ------
        CaffeError
            It is no picture, or none that fits.
        """

    def run(self, prepared: Sequence[Any]) -> list[Any]:
        """Return a row for each of some pictures; a `CaffeError` for one that has none."""

    def columns(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Return Arrow's arrays by their names; None among the rows is a picture without any."""


def pixels_of(content: bytes, name: str, color: bool) -> tuple[Any, float]:
    """Return a picture's numbers, and what they are to be divided by to lie in 0 to 1.

    Raises
    ------
    ImageError
        It is no picture; the text says whose.
    """
    stream = io.BytesIO(content)
    # So that an error can say whose it is.
    stream.name = name
    return read_given(stream, color)


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
