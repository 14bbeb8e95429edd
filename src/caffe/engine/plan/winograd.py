"""Convolutions of small kernels by Winograd's algorithm: by tiles, with fewer multiplications.

A tile of m x m results needs (m + r - 1)**2 products for each pair of channels instead of (m r)**2
(Lavin and Gray, 2016; the matrices are Toom's and Cook's). The tiles are brought into the other
form and back by small products of matrices, a cache's worth at a time.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from ...layers.layer import Activation
from ...memory.blob import Shape
from ...pytorch import torch
from .operation import activate

if TYPE_CHECKING:
    from torch import Tensor

POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
"""Where polynomials are evaluated, beside infinity; more of them lose too many digits."""

TILES = {3: (4, 5), 5: (3, 4)}
"""By the kernel's size: how many results a tile may have across."""

PIECE = 2**22
"""How many numbers a piece has in the other form, at most: they are to stay in the last cache."""

LEAST_CHANNELS = 16
"""How many channels a group must read and write, or the products are too small."""

LEAST_WORK = 2**27
"""How many multiply-adds the convolution must have for trying to be worth it."""

SAVING = 1.5
"""How many times fewer multiplications there must be."""

PATIENCE, TRIALS = 2, 3
"""How many runs pass before it is tried, and how often both ways are timed."""

WORTH = 0.9
"""What share of the direct convolution's time it may take at most: its weights need more memory."""

TOLERANCE = 5e-5
"""Of the largest value: by how much results may differ."""


def tile_for(kernel: int, outputs: Shape) -> int:
    """Return how many results across make tiles with the fewest products for results' size."""
    height, width = outputs
    return min(
        TILES[kernel],
        key=lambda m: (m + kernel - 1) ** 2 * math.ceil(height / m) * math.ceil(width / m),
    )


def saves(kernel: Shape, weight: Shape, outputs: Shape, group: int) -> bool:
    """Tell whether the algorithm spares enough for it to be tried.

    Parameters
    ----------
    kernel, outputs : tuple of int
        Heights and widths.
    weight : tuple of int
        The weights' shape: (outputs, inputs of a group, height, width).
    group : int
        How many groups of channels there are.
    """
    size = kernel[0]
    if kernel != (size, size) or size not in TILES:
        return False
    if min(weight[1], weight[0] // group) < LEAST_CHANNELS:
        return False
    m = tile_for(size, outputs)
    tiles = math.ceil(outputs[0] / m) * math.ceil(outputs[1] / m)
    return size**2 * math.prod(outputs) >= SAVING * (m + size - 1) ** 2 * tiles


@functools.cache
def matrices(m: int, r: int) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """Return the matrices of results, weights and inputs for m results of r weights each.

    With A, G and B these: A @ ((G @ weights) * (B @ inputs)) are the m results of m + r - 1 inputs.
    """
    points = POINTS[: m + r - 2]
    results = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    weights, inputs = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = math.prod((p - q for q in others), start=Fraction(1))
        weights.append([p**i / scale for i in range(r)])
        inputs.append([*_coefficients(others), Fraction(0)])
    weights.append([Fraction(i == r - 1) for i in range(r)])
    inputs.append(_coefficients(points))
    a, g, b = ([[float(x) for x in row] for row in rows] for rows in (results, weights, inputs))
    return a, g, b


def _coefficients(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients, lowest first, of the polynomial with these roots."""
    found = [Fraction(1)]
    for root in roots:
        raised = [Fraction(0), *found]
        found = [up - root * low for up, low in zip(raised, [*found, Fraction(0)], strict=True)]
    return found


class Winograd:
    """A convolution with weights in the other form, for inputs of one shape.

    Parameters
    ----------
    weight, bias : Tensor
        In float64.
    shape : tuple of int
        The input's.
    pad : tuple of int
        Down and across.
    group : int
        How many groups of channels there are.
    activation : Activation
        What follows.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        shape: Shape,
        pad: Shape,
        group: int,
        activation: Activation,
    ) -> None:
        size = weight.shape[-1]
        outputs = tuple(n + 2 * p - size + 1 for n, p in zip(shape[2:], pad, strict=True))
        m = tile_for(size, outputs)
        a, g, b = (torch.tensor(rows, dtype=torch.float64) for rows in matrices(m, size))
        self._results, self._inputs = a.float(), b.float()
        # In the form of products: tile's place, inputs, outputs.
        changed = (g @ weight @ g.T).float().permute(2, 3, 1, 0).flatten(0, 1)
        self._weights = [part.contiguous() for part in changed.chunk(group, 2)]
        self._bias = bias.float()
        self._activation = activation
        self._pad, self._size, self._m, self._across = pad, size, m, len(b)
        self._outputs = outputs
        self._channels = len(weight)
        self._tiles = math.ceil(outputs[0] / m), math.ceil(outputs[1] / m)
        row = self._across**2 * self._tiles[1] * max(shape[1], len(weight))
        rows = max(1, PIECE // row)
        # Several whole pictures, or some rows of tiles of one.
        self._pictures = max(1, min(rows // self._tiles[0], shape[0]))
        self._rows = min(rows, self._tiles[0])
        self._numbers = self._pictures * self._rows * row

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, activated, channels last."""
        m, (down, across) = self._m, self._tiles
        number, _, height, width = x.shape
        padded = x.new_zeros(
            number, down * m + self._size - 1, across * m + self._size - 1, x.shape[1]
        )
        top, left = self._pad
        padded[:, top : top + height, left : left + width] = x.permute(0, 2, 3, 1)
        tiles = padded.unfold(1, self._across, m).unfold(2, self._across, m)
        results = x.new_empty(number, down * m, across * m, self._channels)
        places = results.view(number, down, m, across, m, self._channels)
        spaces = x.new_empty(self._numbers), x.new_empty(self._numbers)
        for first in range(0, number, self._pictures):
            for row in range(0, down, self._rows):
                piece = slice(first, first + self._pictures), slice(row, row + self._rows)
                made = self._piece(tiles[piece], spaces)
                places[piece].copy_(made.permute(2, 3, 0, 4, 1, 5))
        height, width = self._outputs
        # Tiles may reach past the edge.
        found = results[:, :height, :width].permute(0, 3, 1, 2)
        return found.contiguous(memory_format=torch.channels_last)

    def _piece(self, tiles: Tensor, spaces: tuple[Tensor, Tensor]) -> Tensor:
        """Return some tiles' results: (m, m, pictures, tiles down, tiles across, channels)."""
        here, there = spaces
        size, m, (*places, channels) = self._across, self._m, tiles.shape[:4]
        count = math.prod(places)
        gathered = _in(here, size, size, *places, channels)
        gathered.copy_(tiles.permute(4, 5, 0, 1, 2, 3))
        changed = self._change(
            self._inputs,
            gathered.view(size, size, -1),
            _in(there, size, size, count * channels),
            here,
        ).view(size**2, count, channels)
        products = _in(there, size**2, count, self._channels)
        groups = len(self._weights)
        for x, weights, y in zip(
            changed.chunk(groups, 2), self._weights, products.chunk(groups, 2), strict=True
        ):
            torch.bmm(x, weights, out=y)
        # At the point 1 every result takes part with a factor of 1.
        products[size + 1].add_(self._bias)
        results = self._change(
            self._results,
            products.view(size, size, -1),
            _in(here, size, m, count * self._channels),
            there,
        )
        return activate(results, self._activation).view(m, m, *places, self._channels)

    @staticmethod
    def _change(matrix: Tensor, x: Tensor, half: Tensor, space: Tensor) -> Tensor:
        """Multiply both of the first axes of `x` with a matrix, by way of `half`, into `space`."""
        rows = len(matrix)
        torch.bmm(matrix.expand(len(half), *matrix.shape), x.transpose(0, 1), out=half)
        found = _in(space, rows, rows, x.shape[2])
        return torch.bmm(matrix.expand(rows, *matrix.shape), half.transpose(0, 1), out=found)


def _in(space: Tensor, *shape: int) -> Tensor:
    """The first numbers of some memory, in a shape."""
    return space[: math.prod(shape)].view(shape)


class Trial:
    """Whether a convolution is quicker by Winograd's algorithm: found out by trying.

    Parameters
    ----------
    make : callable
        Brings the weights into the other form.

    Attributes
    ----------
    is_over : bool
        Whether it is known.
    chosen : bool
        Whether it is quicker.
    said : str
        What came out, for people.
    """

    def __init__(self, make: Callable[[], Winograd]) -> None:
        self.is_over = self.chosen = False
        self.said = ""
        self._make = make
        self._made: Winograd | None = None
        self._runs = 0
        self._times: tuple[list[float], list[float]] = [], []

    def forget(self) -> None:
        """Drop the weights, which have changed."""
        self._made = None

    def run(self, x: Tensor, direct: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute by what is quicker, or by both while that is not known."""
        if self.is_over and not self.chosen:
            return direct(x)
        self._runs += 1
        if not self.is_over and self._runs <= PATIENCE:
            return direct(x)
        if self._made is None:
            self._made = self._make()
        if self.is_over:
            return self._made(x)
        expected, seconds = _timed(direct, x)
        found, others = _timed(self._made, x)
        most = float(expected.abs().amax())
        if not float((found - expected).abs().amax()) <= TOLERANCE * most:
            self._end("Winograd's algorithm rounds off too much")
        elif self._runs > PATIENCE + 1:
            # The first of each does more.
            self._times[0].append(seconds)
            self._times[1].append(others)
            if len(self._times[0]) == TRIALS:
                self._judge()
        return expected

    def _judge(self) -> None:
        seconds, others = map(min, self._times)
        self.chosen = others <= WORTH * seconds
        told = f"{1000 * others:.3g} ms instead of {1000 * seconds:.3g}"
        self._end(
            f"by Winograd's algorithm: {told}" if self.chosen else f"not by Winograd's: {told}"
        )

    def _end(self, said: str) -> None:
        self.is_over, self.said = True, said
        if not self.chosen:
            self._made = None


def _timed(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, float]:
    began = time.perf_counter()
    found = run(x)
    return found, time.perf_counter() - began
