"""What layers compute, written out in numpy."""

from __future__ import annotations

import math

import numpy as np


def normalized(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps: float) -> np.ndarray:
    """Return x less its channels' mean, over their deviation."""
    spread = (slice(None), *[np.newaxis] * (x.ndim - 2))
    return (x - mean[spread]) / np.sqrt(variance[spread] + eps)


def c_round(x: float) -> int:
    """Round as C does: halves away from zero."""
    return int(math.floor(abs(x) + 0.5) * math.copysign(1, x))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def reference_smooth_l1(x: np.ndarray, sigma: float = 1) -> np.ndarray:
    square = sigma * sigma
    small = np.abs(x) < 1 / square
    return np.where(small, 0.5 * square * x * x, np.abs(x) - 0.5 / square)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return e / e.sum()
