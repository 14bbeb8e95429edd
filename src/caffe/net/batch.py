"""How many pictures go through a net at once, and any number of them in pieces of that size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import ShapeError
from ..memory.blob import Blob
from .by_name import Results

Arrays = dict[str, np.ndarray]


def set_batch(inputs: Sequence[Blob], count: int) -> None:
    """Make room for `count` pictures in a net's input blobs; the net is to be reshaped then.

    Of several inputs, those that are not one per picture keep their size.
    """
    own = inputs[0].shape[:1]
    for blob in inputs:
        if blob.shape[:1] == own:
            blob.reshape(count, *blob.shape[1:])


def batches(arrays: Arrays, size: int) -> Iterator[Arrays]:
    """Yield the arrays in pieces of `size` along their first axis, the last filled with zeros.

    Raises
    ------
    ShapeError
        They are not equally long.
    """
    if not arrays:
        return
    count = len(next(iter(arrays.values())))
    for name, values in arrays.items():
        if len(values) != count:
            raise ShapeError(
                f"'{name}' has {len(values)} entries where the first array has {count}"
            )
    for begin in range(0, count, size):
        batch = {name: np.asarray(v[begin : begin + size]) for name, v in arrays.items()}
        missing = size - min(size, count - begin)
        if missing:
            batch = {
                name: np.concatenate([v, np.zeros((missing, *v.shape[1:]), v.dtype)])
                for name, v in batch.items()
            }
        yield batch


def trimmed(results: dict[str, list[np.ndarray]], arrays: Arrays) -> Arrays:
    """Return what came of the pieces as arrays, without what came of the zeros at their end."""
    count = len(next(iter(arrays.values()))) if arrays else None
    return Results((name, np.asarray(values)[:count]) for name, values in results.items())
