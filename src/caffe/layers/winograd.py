"""Convolutions of small kernels by Winograd's algorithm: by tiles, with fewer multiplications.

A tile of m x m results needs (m + r - 1)**2 products for each pair of channels instead of (m r)**2
(Lavin and Gray, 2016; the matrices are Toom's and Cook's). The tiles are brought into the other
form and back by small products of matrices, a cache's worth at a time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from ..memory.blob import Shape
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
"""Where polynomials are evaluated, beside infinity; more of them lose too many digits."""

TILES = {3: (4, 5), 5: (3, 4)}
"""By the kernel's size: how many results a tile may have across."""

PIECE = 2**21
"""How many numbers a piece has in the other form, at most: they are to stay in the last cache."""

LEAST_CHANNELS = 16
"""How many channels a group must read and write, or the products are too small."""

SAVING = 1.5
"""How many times fewer multiplications there must be."""

LEAST_TRAINED = 2**29
"""How many multiply-adds a convolution must have to be trained so: it rounds ten times as much."""

CHANGING = 150
"""How many multiply-adds take the time in which a number is brought into the other form."""


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


def pays(shape: Shape, weight: Shape, pad: Shape, group: int, slower: float = 1.0) -> bool:
    """Tell whether to use the algorithm where nothing is tried out, for inputs of a shape.

    Parameters
    ----------
    shape, weight : tuple of int
        The inputs', and the weights'.
    pad : tuple of int
        Down and across.
    group : int
        How many groups of channels there are.
    slower : float
        How many times a convolution's time the direct way takes.
    """
    number, channels, height, width = shape
    size = weight[2:]
    outputs = height + 2 * pad[0] - size[0] + 1, width + 2 * pad[1] - size[1] + 1
    direct = number * math.prod(outputs) * math.prod(weight)
    if min(outputs) < 1 or direct < LEAST_TRAINED or not saves(size, weight, outputs, group):
        return False
    m = tile_for(size[0], outputs)
    places = (m + size[0] - 1) ** 2
    tiles = number * math.ceil(outputs[0] / m) * math.ceil(outputs[1] / m)
    pairs = math.prod(weight[:2])
    products = places * tiles * pairs
    changed = places * (tiles * (channels + weight[0]) + pairs)
    return products + CHANGING * changed <= slower * direct


def _evenly(count: int, most: int) -> int:
    """Return how large parts are that are as few and as equal as can be, of at most so many."""
    return math.ceil(count / math.ceil(count / most))


def _whole_and_rest(first: int, stop: int, m: int, size: int) -> Iterator[tuple[range, int]]:
    """Yield which tiles lie within some size, and how many of their places do."""
    whole = min(stop, size // m)
    if first < whole:
        yield range(first, whole), m
    if whole < stop:
        yield range(max(first, whole), stop), size - whole * m


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


class Tiles:
    """Pictures of one shape cut into the tiles of a convolution, some at a time.

    Parameters
    ----------
    shape : tuple of int
        The pictures': (number, channels, height, width).
    size : int
        The kernel's height and width.
    pad : tuple of int
        Down and across.
    channels : int
        How many the convolution makes.
    """

    def __init__(self, shape: Shape, size: int, pad: Shape, channels: int) -> None:
        self.outputs = tuple(n + 2 * p - size + 1 for n, p in zip(shape[2:], pad, strict=True))
        self.m = tile_for(size, self.outputs)
        self.across = self.m + size - 1
        self._shape, self._pad, self._size = shape, pad, size
        self.grid = tuple(math.ceil(n / self.m) for n in self.outputs)
        row = self.across**2 * self.grid[1] * max(shape[1], channels)
        rows = max(1, PIECE // row)
        # Several whole pictures, or some rows of tiles of one.
        self._pictures = _evenly(shape[0], max(1, rows // self.grid[0]))
        self._rows = _evenly(self.grid[0], rows)
        self.numbers = self._pictures * self._rows * row
        """How many numbers one piece has in the other form, at most."""

    def pieces(self) -> Iterator[tuple[slice, slice]]:
        """Yield which pictures, and which rows of their tiles, are worked on together."""
        for first in range(0, self._shape[0], self._pictures):
            for row in range(0, self.grid[0], self._rows):
                yield slice(first, first + self._pictures), slice(row, row + self._rows)

    def of_inputs(self, x: Tensor) -> Tensor:
        """Return the tiles that are read: (number, down, across, channels, height, width)."""
        (number, channels, height, width), (top, left) = x.shape, self._pad
        down, across = (n * self.m + self._size - 1 for n in self.grid)
        padded = x.new_empty(number, down, across, channels)
        inner = padded[:, top : top + height, left : left + width]
        for edge in (
            *(padded[:, :top], padded[:, top + height :]),
            *(padded[:, :, :left], padded[:, :, left + width :]),
        ):
            edge.zero_()
        inner.copy_(x.permute(0, 2, 3, 1))
        return padded.unfold(1, self.across, self.m).unfold(2, self.across, self.m)

    def puts(self, made: Tensor, y: Tensor, rows: slice) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield where some rows of tiles belong, in all pictures, and these tiles' numbers.

        Parameters
        ----------
        made : Tensor
            Tiles that are made, (m, m, number, down, across, channels).
        y : Tensor
            All results, (number, height, width, channels): tiles may reach past their edge.
        """
        m, (height, width) = self.m, self.outputs
        for down, tall in _whole_and_rest(rows.start, rows.start + made.shape[3], m, height):
            for across, wide in _whole_and_rest(0, made.shape[4], m, width):
                first, left = down.start * m, across.start * m
                last, right = first + len(down) * tall, left + len(across) * wide
                part = y[:, first:last, left:right]
                places = part.unflatten(2, (-1, wide)).unflatten(1, (-1, tall))
                mine = slice(down.start - rows.start, down.stop - rows.start)
                own = made[:tall, :wide, :, mine, across.start : across.stop]
                yield places, own.permute(2, 3, 0, 4, 1, 5)

    def of_outputs(self, y: Tensor) -> Tensor:
        """Return the tiles that are made, in the same form; what is behind the edge is 0."""
        (number, channels, height, width), (down, across) = y.shape, self.grid
        padded = y.new_zeros(number, down * self.m, across * self.m, channels)
        padded[:, :height, :width] = y.permute(0, 2, 3, 1)
        return padded.unfold(1, self.m, self.m).unfold(2, self.m, self.m)


class Winograd:
    """A convolution with weights in the other form, for inputs of one shape.

    Parameters
    ----------
    weight : Tensor
        The other form is computed in its type, and used in float32.
    bias : Tensor or None
        One number for each output.
    shape : tuple of int
        The input's.
    pad : tuple of int
        Down and across.
    group : int
        How many groups of channels there are.
    finish : callable, optional
        Changes results in their place: an activation.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        shape: Shape,
        pad: Shape,
        group: int,
        finish: Callable[[Tensor], object] = lambda y: None,
    ) -> None:
        self._tiles = tiles = Tiles(shape, weight.shape[-1], pad, len(weight))
        outputs, inputs, size = weight.shape[:3]
        a, g, b = _as_tensors(matrices(tiles.m, size), weight.dtype)
        self._results, self._inputs = a.float(), b.float()
        # In the form of products: tile's place, group, inputs, outputs.
        rows = weight.reshape(group, -1, inputs, size, size).permute(3, 4, 0, 2, 1)
        rows = rows.reshape(size, size, -1)
        changed = _changed(g, rows).view(-1, group, inputs, outputs // group).float()
        self._weights = changed.unbind(1)
        self._biases = [None] * group if bias is None else bias.float().chunk(group)
        self._finish = finish
        self._channels = len(weight)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, finished, channels last."""
        work = self._tiles
        tiles = work.of_inputs(x)
        found = x.new_empty(len(x), *work.outputs, self._channels)
        spaces = x.new_empty(work.numbers), x.new_empty(work.numbers)
        ways: dict[Shape, _Way] = {}
        for pictures, rows in work.pieces():
            piece = tiles[pictures, rows]
            key = len(piece), rows.start
            if key not in ways:
                ways[key] = self._way(piece, rows, found, spaces)
            ways[key](piece, pictures)
        return found.permute(0, 3, 1, 2)

    def _way(
        self, piece: Tensor, rows: slice, found: Tensor, spaces: tuple[Tensor, Tensor]
    ) -> _Way:
        """Return how pieces of so many pictures and these rows run."""
        (here, there), places = spaces, piece.shape[:3]
        size, m, groups = self._tiles.across, self._tiles.m, len(self._weights)
        form = _OtherForm(self._inputs, tuple(piece.shape[:4]), spaces)
        parts = _in(there, groups, size**2, math.prod(places), self._channels // groups)
        shares = []
        for x, weights, bias, part, y in zip(
            form.result.chunk(groups, 2), self._weights, self._biases, parts,
            found.chunk(groups, 3), strict=True,
        ):  # fmt: skip
            change = _Change(self._results, part.view(size, size, -1), here, part.view(-1))
            made = change.result.view(m, m, *places, -1)
            puts = list(self._tiles.puts(made, y, rows))
            # At the point 1 every result takes part with a factor of 1.
            shares.append(_Share(x, weights, part, part[size + 1], bias, change, puts))
        return _Way(form, shares, self._finish)


@dataclass
class _Share:
    """One group's share of a piece: its products, and what is made of them."""

    x: Tensor
    weights: Tensor
    products: Tensor
    at_one: Tensor
    bias: Tensor | None
    change: _Change
    puts: Sequence[tuple[Tensor, Tensor]]


@dataclass
class _Way:
    """How some pieces run, with all of their memory."""

    form: _OtherForm
    shares: Sequence[_Share]
    finish: Callable[[Tensor], object]

    def __call__(self, piece: Tensor, pictures: slice) -> None:
        self.form(piece)
        # Each by itself: a product that steps over the others takes half as long again.
        for share in self.shares:
            torch.bmm(share.x, share.weights, out=share.products)
        for share in self.shares:
            if share.bias is not None:
                share.at_one.add_(share.bias)
            share.change()
            self.finish(share.change.result)
            for places, own in share.puts:
                places[pictures].copy_(own)


def weight_gradient(diff: Tensor, x: Tensor, size: int, pad: Shape, group: int) -> Tensor:
    """Return the gradient by a convolution's weights, whose kernels are size x size.

    It is a convolution, too, of each tile that was read with the one that was made of it: tiles of
    m results have kernels of m places, and size x size results, which are added up.
    """
    work = Tiles(tuple(x.shape), size, pad, diff.shape[1])
    results, kernels, inputs = _as_tensors(matrices(size, work.m), torch.float32)
    read, made = work.of_inputs(x), work.of_outputs(diff)
    theirs, ours = ((x.new_empty(work.numbers), x.new_empty(work.numbers)) for _ in range(2))
    inputs_of_group, outputs_of_group = x.shape[1] // group, diff.shape[1] // group
    sums = x.new_zeros(group, work.across**2, outputs_of_group, inputs_of_group)
    ways: dict[Shape, tuple[_OtherForm, _OtherForm]] = {}
    for piece in work.pieces():
        places = tuple(read[piece].shape[:3])
        if places not in ways:
            ways[places] = (
                _OtherForm(inputs, (*places, x.shape[1]), theirs),
                _OtherForm(kernels, (*places, diff.shape[1]), ours),
            )
        xs, ys = ways[places]
        xs(read[piece])
        ys(made[piece])
        for total, part, other in zip(
            sums, xs.result.chunk(group, 2), ys.result.chunk(group, 2), strict=True
        ):
            total.baddbmm_(other.transpose(1, 2), part)
    products = sums.transpose(0, 1).reshape(work.across, work.across, -1)
    found = _changed(results, products)
    return found.view(size, size, diff.shape[1], inputs_of_group).permute(2, 3, 0, 1)


class _Change:
    """A product of both of the first axes of some memory, (place, place, number), with a matrix.

    Parameters
    ----------
    matrix : Tensor
        (places made, places).
    x : Tensor
        The memory.
    half, space : Tensor
        Where one axis's products, and then both's, are put. `x` may lie in `space` itself.
    """

    def __init__(self, matrix: Tensor, x: Tensor, half: Tensor, space: Tensor) -> None:
        rows, (size, _, count) = len(matrix), x.shape
        halves = _in(half, size, rows, count)
        self.result = _in(space, rows, rows, count)
        self._products = (
            (matrix.expand(size, *matrix.shape), x.transpose(0, 1), halves),
            (matrix.expand(rows, *matrix.shape), halves.transpose(0, 1), self.result),
        )

    def __call__(self) -> None:
        for matrix, x, out in self._products:
            torch.bmm(matrix, x, out=out)


class _OtherForm:
    """Tiles of one shape in the other form, (place, tile, channel), in the first of two spaces."""

    def __init__(self, matrix: Tensor, shape: Shape, spaces: tuple[Tensor, Tensor]) -> None:
        (here, there), size = spaces, matrix.shape[1]
        self._gathered = _in(here, size, size, *shape)
        self._change = _Change(matrix, self._gathered.view(size, size, -1), there, here)
        self.result = self._change.result.view(-1, math.prod(shape[:-1]), shape[-1])

    def __call__(self, tiles: Tensor) -> None:
        self._gathered.copy_(tiles.permute(4, 5, 0, 1, 2, 3))
        self._change()


def _changed(matrix: Tensor, x: Tensor) -> Tensor:
    """Return the product of both of the first axes of `x` with a matrix."""
    rows, (size, _, count) = len(matrix), x.shape
    change = _Change(matrix, x, x.new_empty(size * rows * count), x.new_empty(rows * rows * count))
    change()
    return change.result


def _in(space: Tensor, *shape: int) -> Tensor:
    """The first numbers of some memory, in a shape."""
    return space[: math.prod(shape)].view(shape)


def _as_tensors(rows: Sequence[list[list[float]]], dtype: torch.dtype) -> list[Tensor]:
    return [torch.tensor(matrix, dtype=dtype) for matrix in rows]
