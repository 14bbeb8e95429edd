"""What the tests share: where the reference material lies, and golden figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material (real models, pictures, figures); skips without it."""
    folder = Path(os.environ.get("RECAFFE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "goldens").is_dir():
        pytest.skip(f"the reference material is not at {folder} (set RECAFFE_SHARED)")
    return folder
