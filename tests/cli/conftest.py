"""What the tests of several commands are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.nets import TINY


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A small net's file."""
    path = tmp_path / "tiny.prototxt"
    path.write_text(TINY)
    return path
