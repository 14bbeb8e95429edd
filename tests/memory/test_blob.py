"""Blobs: reshaping, legacy axes, and what is no shape."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.memory.blob import Blob


def test_blob_reshape_keeps_memory_that_is_large_enough() -> None:
    blob = Blob((2, 3))
    blob.data[...] = np.arange(6).reshape(2, 3)
    blob.reshape(3)
    assert blob.data.tolist() == [0, 1, 2]
    blob.reshape(7)
    assert blob.data.tolist() == [0] * 7


def test_blob_has_legacy_axes() -> None:
    blob = Blob((5, 4))
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (5, 4, 1, 1, 20)
    blob.reshape(1, 2, 3, 4, 5)
    with pytest.raises(caffe.ShapeError, match="at most 4 axes"):
        blob.num  # noqa: B018


@pytest.mark.parametrize("shape", [(-1,), (2**31,), (1,) * 33, ("a",)])
def test_blob_refuses_what_is_no_shape(shape: tuple[object, ...]) -> None:
    with pytest.raises(caffe.ShapeError):
        Blob(shape)  # type: ignore[arg-type]
