"""What a net's methods are given: names, and arrays that must fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..engine.callbacks import Callback
from ..errors import ArgumentError, CaffeError, ShapeError
from .by_name import listed, unknown


def known_blobs(names: Iterable[str], blobs: Iterable[str]) -> list[str]:
    """Return the names; raises CaffeError where one is not among the net's blobs."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ArgumentError(f"a list of blobs' names is wanted, not {names!r:.60}")
    return [_known("blob", name, blobs) for name in names]


def known_layer(name: str, layers: Iterable[str]) -> str:
    """Return the name; raises CaffeError where it is not among the net's layers."""
    return _known("layer", name, layers)


def check_callable(function: Callback) -> Callback:
    """Return the function; raises ArgumentError where it is none."""
    if not callable(function):
        raise ArgumentError(f"this takes a function of a layer's number, not {function!r:.60}")
    return function


def check_all_given(what: str, given: Iterable[str], wanted: Sequence[str]) -> None:
    """Check that exactly these names are given; `what` is what they name."""
    given = list(given)
    if set(given) != set(wanted):
        raise CaffeError(f"the {what}s must be exactly {listed(wanted)}; given are {listed(given)}")


def assign(what: str, name: str, values: np.ndarray, target: np.ndarray) -> None:
    """Write an array into a blob's.

    Raises
    ------
    ShapeError
        Its first axis is not the batch, or the rest does not fit the blob.
    """
    values = np.asarray(values)
    if values.ndim == 0 and values.item() is None:
        raise ShapeError(f"{what} '{name}' is None, not an array")
    if values.ndim and target.ndim and values.shape[0] != target.shape[0]:
        raise ShapeError(
            f"{what} '{name}' has {values.shape[0]} along its first axis, but the blob's batch is "
            f"{target.shape[0]} (its shape is {target.shape}); reshape the blob or use forward_all"
        )
    try:
        target[...] = values
    except (ValueError, TypeError) as error:
        raise ShapeError(
            f"{what} '{name}' of shape {values.shape} and type {values.dtype} "
            f"does not fit the blob's shape {target.shape}"
        ) from error


def _known(what: str, name: str, known: Iterable[str]) -> str:
    if not isinstance(name, str) or name not in known:
        raise CaffeError(unknown(what, name, known))
    return name
