"""What tests of reading and of resizing compare with: the original's figures, and its cat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def pipeline(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "goldens" / "pipeline.npz") as figures:
        return dict(figures)


@pytest.fixture(scope="module")
def cat(shared: Path) -> Path:
    return shared / "models" / "bvlc_caffe" / "examples" / "images" / "cat.jpg"
