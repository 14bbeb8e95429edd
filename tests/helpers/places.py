"""Where the tests' material lies."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDENS = REPOSITORY / "tests" / "goldens"
SHARED = Path(os.environ.get("RECAFFE_SHARED", REPOSITORY.parent / "shared"))
