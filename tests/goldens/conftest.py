"""Where the goldens run: on the CPU, unless RECAFFE_TEST_STORE names a GPU ("0") or "second".

"second" is a second store in CPU memory in the GPU's place, as in `tests.helpers.second_store`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import caffe
from caffe import mode
from tests.helpers.second_store import CountingStore, use_store


@pytest.fixture(autouse=True)
def where_nets_run() -> Iterator[None]:
    place = os.environ.get("RECAFFE_TEST_STORE", "")
    if place == "second":
        use_store(CountingStore())
    elif place:
        mode.set_gpu(int(place))
    yield
    caffe.set_mode_cpu()
