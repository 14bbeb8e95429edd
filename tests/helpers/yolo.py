"""What YOLO v2's maps say, place by place, for its loss and its judge."""

from __future__ import annotations

import math

import numpy as np

from tests.helpers.formulas import sigmoid

BIASES = [1.0, 1.5, 2.0, 0.7, 3.0, 2.5]
TEXT = " ".join(f"biases: {b}" for b in BIASES)


def predictions(x: np.ndarray) -> list[tuple[tuple[int, int, int], np.ndarray, np.ndarray]]:
    """For each place and box: where, the box's corners, and the raw values."""
    result = []
    _, height, width = x.shape
    values = x.reshape(3, -1, height, width)
    for j in range(height):
        for i in range(width):
            for n in range(3):
                v = values[n, :, j, i]
                cx, cy = (i + sigmoid(v[0])) / width, (j + sigmoid(v[1])) / height
                w = math.exp(v[2]) * BIASES[2 * n] / width
                h = math.exp(v[3]) * BIASES[2 * n + 1] / height
                box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
                result.append(((j, i, n), box, v))
    return result


def true_rows(rng: np.random.Generator, images: int, classes: int) -> np.ndarray:
    """Rows of class, centre, width and height, two or three for each picture of 30."""
    rows = np.zeros((images, 30, 5))
    for n in range(images):
        for t in range(2 + n):
            rows[n, t] = rng.uniform([0, 0.2, 0.2, 0.1, 0.1], [classes, 0.8, 0.8, 0.5, 0.5])
            rows[n, t, 0] //= 1
    return rows
