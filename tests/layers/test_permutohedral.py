"""Smoothing on the permutohedral lattice."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from caffe.errors import CaffeError
from caffe.layers.permutohedral import PermutohedralLattice


def corners_of(point: np.ndarray) -> dict[tuple[int, ...], float]:
    """The corners of a point's simplex and what each counts, by the paper's steps."""
    d = len(point)
    scaled = [x * (d + 1) * math.sqrt(2 / 3 / ((i + 1) * (i + 2))) for i, x in enumerate(point)]
    raised = [sum(scaled[j:]) - j * (scaled[j - 1] if j else 0) for j in range(d + 1)]
    base = [(d + 1) * round(r / (d + 1)) for r in raised]
    ahead = [r - b for r, b in zip(raised, base, strict=True)]
    order = sorted(range(d + 1), key=lambda i: -ahead[i])
    rank = [order.index(i) + sum(base) // (d + 1) for i in range(d + 1)]
    for i in range(d + 1):
        turn = (rank[i] < 0) - (rank[i] > d)
        base[i] += turn * (d + 1)
        rank[i] += turn * (d + 1)
    ahead = sorted(((r - b) / (d + 1) for r, b in zip(raised, base, strict=True)), reverse=True)
    shares = [
        ahead[d - k] - ahead[d - k + 1] if k else 1 - ahead[0] + ahead[d] for k in range(d + 1)
    ]
    found = {}
    for k, share in enumerate(shares):
        found[tuple(base[i] + k - (d + 1) * (rank[i] > d - k) for i in range(d + 1))] = share
    return found


def smoothed(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    d = points.shape[1]
    corners = [corners_of(point) for point in points]
    sums: dict[tuple[int, ...], np.ndarray] = {}
    for own, value in zip(corners, values, strict=True):
        for corner, share in own.items():
            sums[corner] = sums.get(corner, 0) + share * value
    for axis in range(d + 1):
        step = [d if i == axis else -1 for i in range(d + 1)]
        blurred = {}
        for corner, own in sums.items():
            ahead = tuple(c + s for c, s in zip(corner, step, strict=True))
            behind = tuple(c - s for c, s in zip(corner, step, strict=True))
            blurred[corner] = own + (sums.get(ahead, 0) + sums.get(behind, 0)) / 2
        sums = blurred
    scale = 1 + 2.0**-d
    return np.array([sum(sums[c] * share for c, share in own.items()) / scale for own in corners])


@pytest.mark.parametrize("far", [1, 1e8])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_smoothing_takes_the_papers_steps(dimensions: int, far: float) -> None:
    rng = np.random.default_rng(dimensions)
    points = rng.normal(size=(60, dimensions)) * 2
    points[:5] += far
    values = rng.normal(size=(60, 3))
    lattice = PermutohedralLattice(torch.from_numpy(points))
    found = lattice.smooth(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), smoothed(points, values), rtol=1e-6, atol=1e-6)


def test_smoothing_is_nearly_a_gaussian() -> None:
    rng = np.random.default_rng(0)
    points, values = rng.normal(size=(300, 2)) * 4, rng.uniform(size=(300, 1))
    exact = np.exp(-((points[:, None] - points) ** 2).sum(-1) / 2) @ values
    lattice = PermutohedralLattice(torch.from_numpy(points))
    found = lattice.smooth(torch.from_numpy(values)).numpy()
    assert np.corrcoef(exact[:, 0], found[:, 0])[0, 1] > 0.995


def test_no_points_and_points_that_are_no_numbers() -> None:
    assert PermutohedralLattice(torch.zeros(0, 5)).smooth(torch.zeros(0, 2)).shape == (0, 2)
    with pytest.raises(CaffeError, match="some are no numbers"):
        PermutohedralLattice(torch.tensor([[0.0, math.nan]]))
