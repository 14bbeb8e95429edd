"""Smoothing with a Gaussian among points of a few dimensions, in linear time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import CaffeError
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

Integers = NDArray[np.int64]

FARTHEST = 1e9
"""Standard deviations that a point may lie from 0."""


class PermutohedralLattice:
    """A Gaussian of standard deviation 1 over points, as Adams et al. (2010) approximate it.

    Each point spreads its value over the corners of the simplex that it lies in; along each of
    the lattice's axes a corner takes half of either neighbour; each point gathers from its
    corners again.

    Parameters
    ----------
    points : Tensor
        (N, d), in standard deviations along each dimension.

    Raises
    ------
    CaffeError
        Some are no numbers, or farther than the lattice's numbers count.
    """

    def __init__(self, points: Tensor) -> None:
        self.dimensions = points.shape[1]
        array = points.detach().cpu().double().numpy()
        if not (np.abs(array) < FARTHEST).all():
            raise CaffeError(
                "places are smoothed by their colours, but some are no numbers, or too large: they "
                f"must be below {FARTHEST:g} standard deviations"
            )
        corners, shares = _corners(array)
        codes, steps = _encoded(corners)
        known, places = np.unique(codes, return_inverse=True)
        device = points.device
        self._places = torch.from_numpy(places.reshape(codes.shape)).to(device)
        self._shares = torch.from_numpy(shares).to(points)
        self._count = len(known)
        neighbours = [(_find(known, known + step), _find(known, known - step)) for step in steps]
        self._neighbours = torch.from_numpy(np.array(neighbours, np.int64)).to(device)

    def smooth(self, values: Tensor) -> Tensor:
        """Return the sums of all points' values (N, C), weighted by nearness."""
        # Behind the last corner lies the one that none of the points has: always 0.
        sums = values.new_zeros(self._count + 1, values.shape[1])
        for place, share in zip(self._places.T, self._shares.T, strict=True):
            sums = sums.index_add(0, place, values * share[:, None])
        for before, behind in self._neighbours:
            halves = (sums[before] + sums[behind]) / 2
            sums = sums + torch.nn.functional.pad(halves, (0, 0, 0, 1))
        gathered = torch.zeros_like(values)
        for place, share in zip(self._places.T, self._shares.T, strict=True):
            gathered = gathered + sums[place] * share[:, None]
        return gathered / (1 + 2.0**-self.dimensions)


def _corners(points: NDArray[np.float64]) -> tuple[Integers, NDArray[np.float64]]:
    """The simplex of each point: its corners (N, d + 1, d), and what counts each (N, d + 1)."""
    count, d = points.shape
    numbers = np.arange(1, d + 1)
    # The diagonal of the embedding, for a filter of deviation 1 after all blurs.
    scaled = points * ((d + 1) * np.sqrt(2 / 3) / np.sqrt(numbers * (numbers + 1)))
    behind = np.cumsum(scaled[:, ::-1], 1)[:, ::-1]
    raised = np.empty((count, d + 1))
    raised[:, 0] = behind[:, 0] if d else 0
    raised[:, 1:] = behind - scaled - numbers * scaled
    base = np.rint(raised / (d + 1)).astype(np.int64)
    excess = base.sum(1, keepdims=True)
    base *= d + 1
    order = np.argsort(base - raised, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(d + 1)[None], 1)
    # A point whose rounded corner is off the plane goes back onto it.
    rank += excess
    base += (d + 1) * ((rank < 0).astype(np.int64) - (rank > d))
    rank %= d + 1
    shares = np.zeros((count, d + 2))
    rows = np.arange(count)[:, None]
    parts = (raised - base) / (d + 1)
    # No rank occurs twice in a row, so that plain indexing adds up.
    shares[rows, d - rank] += parts
    shares[rows, d - rank + 1] -= parts
    shares[:, 0] += 1 + shares[:, d + 1]
    steps = np.arange(d + 1)
    wrapped = np.where(
        rank[:, None, :] > d - steps[:, None], steps[:, None] - (d + 1), steps[:, None]
    )
    return (base[:, None, :] + wrapped)[:, :, :d], shares[:, : d + 1]


def _encoded(corners: Integers) -> tuple[Integers, list[int]]:
    """Corners as single numbers, and what leads along each axis from one to its neighbour."""
    d = corners.shape[-1]
    # Room for a neighbour on either side.
    low = corners.min((0, 1), initial=0) - (d + 1)
    lengths = (corners.max((0, 1), initial=0) + d + 2 - low).tolist()
    if np.prod([float(n) for n in lengths]) < 2.0**62:
        weights = [int(np.prod(lengths[i + 1 :], dtype=np.int64)) for i in range(d)]
        codes = (corners - low) @ np.array(weights, np.int64)
        whole = sum(weights)
        return codes, [(d + 1) * w - whole for w in [*weights, 0]]
    # So many places apart that single numbers do not name them: they are hashed.
    random = np.random.default_rng(0).integers(1, 2**61, d, dtype=np.int64)
    codes = ((corners - low) * random).sum(-1)
    steps = np.append(random, 0) * (d + 1) - random.sum()
    return codes, steps.tolist()


def _find(known: Integers, wanted: Integers) -> Integers:
    """Where each number lies in a sorted array; its length for those that it has not."""
    places = np.searchsorted(known, wanted)
    found = known[np.minimum(places, len(known) - 1)] == wanted if len(known) else wanted != wanted
    return np.where(found, places, len(known))
