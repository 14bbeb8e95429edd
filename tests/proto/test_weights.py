"""The readers of weight files are found where they stood once, too."""

from __future__ import annotations

import pytest

from caffe.weights import files


def test_the_old_home_of_the_readers_leads_to_the_new_one() -> None:
    from caffe.proto.weights import read_blob, read_weights

    assert read_weights is files.read_weights
    assert read_blob is files.read_blob
    with pytest.raises(ImportError):
        from caffe.proto.weights import nothing  # type: ignore[attr-defined] # noqa: F401
