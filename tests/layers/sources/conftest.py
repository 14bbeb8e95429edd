"""A list of pictures that the tests of the sources share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.sources import picture, save_picture


@pytest.fixture
def listed(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    pictures = [picture(6, 5) for _ in range(3)]
    lines = []
    for i, image in enumerate(pictures):
        save_picture(tmp_path / f"a picture {i}.png", image)
        lines.append(f"a picture {i}.png {i + 10}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path, pictures
