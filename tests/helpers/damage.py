"""Files that are damaged as disks and transfers damage them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def damaged(whole: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield so many damaged copies of a content: three bytes are any others, and it is cut off."""
    for _ in range(count):
        copy = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            copy[place] = rng.integers(256)
        yield bytes(copy[: rng.integers(1, len(whole) + 1)])
