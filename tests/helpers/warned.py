"""The warnings that published nets deserve."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest

from caffe import CaffeWarning


def as_deserved(name: str) -> AbstractContextManager[object]:
    """Expect what is said of the net of this published text, mostly nothing.

    HED's leaves its Crop layers' offsets to the Caffe of 2015, which worked them out.
    """
    if name == "hed/deploy.prototxt":
        return pytest.warns(CaffeWarning, match="Crop layers have no crop_param")
    return nullcontext()
