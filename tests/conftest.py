"""What pytest hands to the tests of every room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.places import SHARED


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material (real models, pictures, figures); skips without it."""
    if not (SHARED / "goldens").is_dir():
        pytest.skip(f"the reference material is not at {SHARED} (set RECAFFE_SHARED)")
    return SHARED
