"""The likeliest classes of pictures: lists that print, become JSON and tables, and bars."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from .errors import require
from .notebook import bar, table

MOST_PROBABLE = 1.001
"""With some room for rounding; what is above comes from a net without a Softmax at its end."""


def are_probabilities(values: NDArray[Any]) -> bool:
    """Whether all of the values can be probabilities."""
    return bool(values.min() >= 0 and values.max() <= MOST_PROBABLE)


def likeliest(scores: NDArray[Any], count: int) -> list[int]:
    """Return which `count` of the scores are the largest, best first; of equals the first."""
    return [int(i) for i in np.argsort(-scores, kind="stable")[:count]]


class Prediction(tuple[str, float]):
    """A class and its probability; it is the pair of them in all respects.

    Attributes
    ----------
    label : str
        What the class is called.
    probability : float
        From 0 to 1; what the net gives where it does not end in probabilities.
    index : int or None
        The number of the class, from 0; None where nobody said.

    Examples
    --------
    >>> best = Prediction("n02124075 Egyptian cat", 0.75, 285)
    >>> best.label, best.probability, best.index
    ('n02124075 Egyptian cat', 0.75, 285)
    >>> label, probability = best
    """

    _number: int | None

    def __new__(cls, label: str, probability: float, index: int | None = None) -> Prediction:
        made = super().__new__(cls, (label, probability))
        made._number = index
        return made

    def __getnewargs__(self) -> tuple[str, float, int | None]:
        return self[0], self[1], self._number

    @property
    def label(self) -> str:
        return self[0]

    @property
    def probability(self) -> float:
        return self[1]

    # A tuple's method of this name says where a value stands; nobody asks a pair of two that.
    @property
    def index(self) -> int | None:  # type: ignore[override]
        return self._number

    def to_dict(self) -> dict[str, Any]:
        """Return index, label and probability by these names; no number at all is None."""
        share = float(self.probability)
        return {
            "index": self.index,
            "label": self.label,
            "probability": share if math.isfinite(share) else None,
        }


class Predictions(list[tuple[str, float]]):
    """Labels with their probabilities, the likeliest first.

    It is a list of `Prediction` in all respects; a notebook shows it as bars.

    Attributes
    ----------
    picture : str or None
        What the picture is called, where that is known.

    Examples
    --------
    >>> predictions = Predictions([("n02124075 Egyptian cat", 0.75), ("n02123159 tiger cat", 0.25)])
    >>> predictions
    [('n02124075 Egyptian cat', 0.75), ('n02123159 tiger cat', 0.25)]
    >>> predictions[0].label
    'n02124075 Egyptian cat'
    >>> print(predictions[:1].to_json())
    [{"index": null, "label": "n02124075 Egyptian cat", "probability": 0.75}]
    """

    def __init__(self, pairs: Iterable[tuple[str, float]] = (), picture: str | None = None) -> None:
        super().__init__(
            Prediction(*pair) if type(pair) is tuple and len(pair) == 2 else pair for pair in pairs
        )
        self.picture = picture

    @classmethod
    def of_scores(
        cls,
        scores: NDArray[Any],
        labels: Sequence[str] | None,
        top: int,
        least: float | None = None,
        picture: str | None = None,
    ) -> Predictions:
        """Return the classes with the largest scores.

        Parameters
        ----------
        scores : array
            One for each class.
        labels : sequence of str or None
            What the classes are called; "class 7" where nobody said.
        top : int
            How many classes at most.
        least : float, optional
            Leave out what has a smaller score.
        picture : str, optional
            What the picture is called.
        """
        return cls(
            (
                Prediction(f"class {i}" if labels is None else labels[i], float(scores[i]), i)
                for i in likeliest(scores, top)
                if least is None or scores[i] >= least
            ),
            picture,
        )

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        found: Any = super().__getitem__(index)
        return Predictions(found, self.picture) if isinstance(index, slice) else found

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dict for each class, with its index, label and probability."""
        return [Prediction.to_dict(_as_prediction(pair)) for pair in self]

    def to_json(self) -> str:
        """Return a JSON list of objects: index, label and probability."""
        return json.dumps(self.to_dicts())

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with the columns index, label and probability.

        Raises
        ------
        MissingExtraError
            pandas is not installed (the extra 'pandas').
        """
        columns = ("index", "label", "probability")
        return _pandas().DataFrame(self.to_dicts(), columns=columns)

    def _repr_html_(self) -> str:
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in self):
            return escape(repr(self))
        rows = [(f"{share:.4f}", bar(share), escape(str(label))) for label, share in self]
        return table("Predictions", rows, ("probability", "", "class"))


class ManyPredictions(list[Predictions]):
    """The `Predictions` of several pictures, in their order.

    Examples
    --------
    >>> many = ManyPredictions([Predictions([Prediction("cat", 0.75, 3)], "a.png")])
    >>> many.to_dicts()
    [{'picture': 'a.png', 'rank': 1, 'index': 3, 'label': 'cat', 'probability': 0.75}]
    """

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dict for each class of each picture.

        They have picture (its name, or its number from 0 where it has none), rank (1 is the
        likeliest), index, label and probability.
        """
        return [
            {
                "picture": number if found.picture is None else found.picture,
                "rank": rank,
                **entry,
            }
            for number, found in enumerate(self)
            for rank, entry in enumerate(found.to_dicts(), start=1)
        ]

    def to_json(self) -> str:
        """Return a JSON list of what `to_dicts` gives."""
        return json.dumps(self.to_dicts())

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with a row for each class of each picture; see `to_dicts`.

        Raises
        ------
        MissingExtraError
            pandas is not installed (the extra 'pandas').
        """
        columns = ("picture", "rank", "index", "label", "probability")
        return _pandas().DataFrame(self.to_dicts(), columns=columns)


def _as_prediction(pair: Any) -> Prediction:
    return pair if isinstance(pair, Prediction) else Prediction(*pair)


def _pandas() -> Any:
    return require("pandas", "pandas", "a DataFrame")
