"""Comparing with the original Caffe's figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffe


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


def trained_net(figures: Path, shared: Path) -> tuple[caffe.Net, dict[str, np.ndarray]]:
    """Return a trained model with the inputs of a file of figures in it, and the figures."""
    with np.load(figures) as stored:
        golden = dict(stored)
    model, weights = (shared / "models" / str(file) for file in golden["files"])
    net = caffe.Net(model, weights, caffe.TEST)
    for key, values in golden.items():
        kind, _, name = key.partition("/")
        if kind == "in":
            # OpenCV's importer has names of its own.
            blob = net.blobs[name if name in net.blobs else net.inputs[0]]
            blob.reshape(*values.shape)
            blob.data[...] = values
    return net, golden
