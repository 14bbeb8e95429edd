"""The likeliest classes of a picture: a list, with bars in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from .notebook import bar, table

MOST_PROBABLE = 1.001
"""With some room for rounding; what is above comes from a net without a Softmax at its end."""


def are_probabilities(values: NDArray[Any]) -> bool:
    """Whether all of the values can be probabilities."""
    return bool(values.min() >= 0 and values.max() <= MOST_PROBABLE)


def likeliest(scores: NDArray[Any], count: int) -> list[int]:
    """Return which `count` of the scores are the largest, best first; of equals the first."""
    return [int(i) for i in np.argsort(-scores, kind="stable")[:count]]


class Predictions(list[tuple[str, float]]):
    """Labels with their probabilities, the likeliest first.

    It is a list in all respects; a notebook shows it as bars.

    Examples
    --------
    >>> predictions = Predictions([("n02124075 Egyptian cat", 0.75), ("n02123159 tiger cat", 0.25)])
    >>> predictions
    [('n02124075 Egyptian cat', 0.75), ('n02123159 tiger cat', 0.25)]
    >>> predictions[0][0]
    'n02124075 Egyptian cat'
    """

    def __init__(self, pairs: Iterable[tuple[str, float]] = ()) -> None:
        super().__init__(pairs)

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        found: Any = super().__getitem__(index)
        return Predictions(found) if isinstance(index, slice) else found

    def _repr_html_(self) -> str:
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in self):
            return escape(repr(self))
        rows = [(f"{share:.4f}", bar(share), escape(str(label))) for label, share in self]
        return table("Predictions", rows, ("probability", "", "class"))
