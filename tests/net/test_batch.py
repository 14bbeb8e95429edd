"""How many pictures go through a net at once."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.errors import ShapeError
from caffe.memory.blob import Blob
from caffe.net.batch import batches, set_batch


def test_only_inputs_that_are_one_per_picture_follow() -> None:
    pictures, sizes, table = Blob((2, 3, 8, 8)), Blob((2, 4)), Blob((5, 2))
    set_batch([pictures, sizes, table], 7)
    assert [blob.shape for blob in (pictures, sizes, table)] == [(7, 3, 8, 8), (7, 4), (5, 2)]


def test_the_last_piece_is_filled_with_zeros() -> None:
    pieces = list(batches({"a": np.arange(1, 6), "b": np.ones((5, 2))}, 3))
    assert [piece["a"].tolist() for piece in pieces] == [[1, 2, 3], [4, 5, 0]]
    assert pieces[1]["b"].tolist() == [[1, 1], [1, 1], [0, 0]]
    assert not list(batches({}, 3))


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(ShapeError, match="'b' has 4 entries where the first array has 5"):
        list(batches({"a": np.zeros(5), "b": np.zeros(4)}, 3))
