"""Comparing with the original Caffe's figures."""

from __future__ import annotations

import numpy as np


def assert_golden(found: np.ndarray, golden: np.ndarray, what: str) -> None:
    """Compare to 1e-4 of the golden array's largest value, floor 1e-5; tell the worst element."""
    assert found.shape == golden.shape, f"{what}: shape {found.shape}, golden {golden.shape}"
    if not golden.size:
        return
    error = np.asarray(np.abs(found.astype(np.float64) - golden))
    error[np.isnan(found) & np.isnan(golden)] = 0
    error[found == golden] = 0
    finite = np.abs(golden[np.isfinite(golden)])
    tolerance = max(1e-5, 1e-4 * float(finite.max(initial=0)))
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    assert error[worst] <= tolerance, (
        f"{what}{list(map(int, worst))}: {found[worst]}, golden {golden[worst]} "
        f"(difference {error[worst]:.3g}, allowed {tolerance:.3g})"
    )
