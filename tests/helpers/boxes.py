"""Boxes for the tests of detectors: how far they overlap, and which of them stay."""

from __future__ import annotations

import numpy as np

from tests.helpers.running import floats


def overlap(a: np.ndarray, b: np.ndarray, pixel: float = 0) -> float:
    """Return the share of two boxes that both cover; a box of 0 to 9 is 9 + pixel wide."""
    w = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    h = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if w <= 0 or h <= 0:
        return 0
    sizes = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b)]
    return float(w * h / (sum(sizes) - w * h))


def suppress(boxes: np.ndarray, threshold: float, eta: float = 1, pixel: float = 0) -> list[int]:
    """Return which of the boxes, the likeliest first, overlap none that was kept before."""
    kept: list[int] = []
    for i, box in enumerate(boxes):
        if all(overlap(box, boxes[k], pixel) <= threshold for k in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def random_priors(rng: np.random.Generator, count: int) -> np.ndarray:
    """PriorBox's top for random boxes."""
    center, half = rng.uniform(size=(count, 2)), rng.uniform(0.05, 0.3, size=(count, 2))
    boxes = np.concatenate([center - half, center + half], 1)
    variances = np.tile([0.1, 0.2, 0.3, 0.15], count)
    return floats([boxes.reshape(-1), variances])[None]
