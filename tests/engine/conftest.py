"""What pytest hands to the tests of how nets run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import caffe
from caffe.engine.plan import trial


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Winograd's algorithm wherever it can be, however long it takes."""
    monkeypatch.setattr(trial, "LEAST_WORK", 1)
    monkeypatch.setattr(trial, "WORTH", float("inf"))
    caffe.set_engine("torch")
    yield
    caffe.set_engine("auto")
