"""Convolutions of small kernels by Winograd's algorithm: by tiles, with fewer multiplications.

A tile of m x m results needs (m + r - 1)**2 products for each pair of channels instead of (m r)**2
(Lavin and Gray, 2016; the matrices are Toom's and Cook's). The tiles are brought into the other
form and back by small products of matrices, a cache's worth at a time; by kernels of our own, which
need one pass each, where these can be compiled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .. import onednn
from ..compiled import llvm, tiled
from ..compiled.blocks import PLAIN, Finish
from ..compiled.cutting import Cut
from ..compiled.memory import ANYWHERE, Memory
from ..compiled.products import Products
from ..memory.blob import Shape
from ..pytorch import torch
from .winograd_operators import Change, OtherForm, changed

if TYPE_CHECKING:
    from torch import Tensor

POINTS = {
    len(points.split()): tuple(map(Fraction, points.split()))
    for points in (
        "0 1 -1",
        "0 3/4 -3/4 2",
        "0 5/8 -5/8 3/2 -3/2",
        "0 1 -1 2 -2 1/2",
        "0 1 -1 2 -2 1/2 -1/2",
    )
}
"""By their number: where polynomials are evaluated, beside infinity.

Opposite ones share sums. Of four and five with small denominators these lose the fewest digits:
half as many as whole numbers, at no cost. Of six such ones would spare a fifth, and take longer.
"""

TILES = {3: (4, 5), 5: (3, 4)}
"""By the kernel's size: how many results a tile may have across."""

ALL_TILES = {3: (2, 3, 4, 5), 5: (2, 3, 4)}
"""The same with those that are for few tiles: less of weights is to be read."""

SMALL_TILES = {3: (2, 3), 5: (2,)}
"""The same for fewer digits lost, where a net is sensitive."""

PIECE = 2**21
"""How many numbers a piece has in the other form, at most: they are to stay in the last cache."""

IN_OTHER_FORM = 2**20
"""How many numbers of weights come into the other form at a time."""

LEAST_CHANNELS = 16
"""How many channels a group must read and write, or the products are too small."""

SAVING = 1.5
"""How many times fewer multiplications there must be."""

CHANGING, CHANGING_COMPILED = 150, 40
"""How many multiply-adds take the time in which a number is brought into the other form.

By PyTorch's operators, and by kernels of our own.
"""


def tile_for(kernel: int, outputs: Shape, tiles: Mapping[int, Sequence[int]] | None = None) -> int:
    """Return how many results across make tiles with the fewest products for results' size."""
    height, width = outputs
    return min(
        (TILES if tiles is None else tiles)[kernel],
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


def _evenly(count: int, most: int) -> int:
    """Return how large parts are that are as few and as equal as can be, of at most so many."""
    return math.ceil(count / math.ceil(count / most))


def in_other_form(weight: Tensor, bias: Tensor | None, m: int) -> tuple[Tensor, Tensor]:
    """Return a convolution's parameters for tiles of m x m results, in float32.

    Returns
    -------
    weights : Tensor
        (place, output, input of a group); computed in the type that they have.
    biases : Tensor
        (place, output).
    """
    outputs, inputs, size = weight.shape[:3]
    _, g, _ = as_tensors(matrices(m, size), weight.dtype)
    across = m + size - 1
    weights = weight.new_empty(across**2, outputs, inputs, dtype=torch.float32)
    # Some at a time: of all of them double numbers would take twice the memory, and more than once.
    some = max(1, IN_OTHER_FORM // (across**2 * inputs))
    for kernels, found in zip(weight.split(some), weights.split(some, 1), strict=True):
        squares = kernels.permute(2, 3, 0, 1).reshape(size, size, -1)
        found.copy_(changed(g, squares).view(found.shape))
    biases = weight.new_zeros(across**2, outputs)
    if bias is not None:
        biases += torch.outer(algorithm(m, size).ones.to(bias), bias)
    return weights, biases.float()


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
    points = POINTS[m + r - 2]
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


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    first, second = numbers
    return first, second


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
        self.grid = math.ceil(self.outputs[0] / self.m), math.ceil(self.outputs[1] / self.m)
        row = self.across**2 * self.grid[1] * max(shape[1], channels)
        rows = max(1, PIECE // row)
        # Several whole pictures, or some rows of tiles of one.
        self._pictures = _evenly(shape[0], max(1, rows // self.grid[0]))
        self._rows = _evenly(self.grid[0], rows)
        self.tiles = self._pictures * self._rows * self.grid[1]
        """How many tiles one piece has, at most."""
        self.numbers = self._pictures * self._rows * row
        """How many numbers one piece has in the other form, at most."""

    @property
    def cut(self) -> Cut:
        """The same for kernels of our own."""
        number, _, *size = self._shape
        return Cut(number, _pair(size), _pair(self.outputs), _pair(self._pad), self.m)

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
            Tiles that are made, (number, down, across, m, m, channels).
        y : Tensor
            All results, (number, height, width, channels): tiles may reach past their edge.
        """
        m, (height, width) = self.m, self.outputs
        for down, tall in _whole_and_rest(rows.start, rows.start + made.shape[1], m, height):
            for across, wide in _whole_and_rest(0, made.shape[2], m, width):
                first, left = down.start * m, across.start * m
                last, right = first + len(down) * tall, left + len(across) * wide
                part = y[:, first:last, left:right]
                places = part.unflatten(2, (-1, wide)).unflatten(1, (-1, tall))
                mine = slice(down.start - rows.start, down.stop - rows.start)
                own = made[:, mine, across.start : across.stop, :tall, :wide]
                yield places, own.transpose(2, 3)

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
    slope : float or None
        What it multiplies numbers below 0 by, where it does nothing else.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        shape: Shape,
        pad: Shape,
        group: int,
        finish: Callable[[Tensor], object] = lambda y: None,
        slope: float | None = 1.0,
    ) -> None:
        self._tiles = tiles = Tiles(shape, weight.shape[-1], pad, len(weight))
        outputs, size = len(weight), weight.shape[2]
        self._finish, self._pad, self._channels = finish, pad, outputs
        self._compiled: tiled.Tiled | None = None
        if slope is not None and are_compiled(shape[1], outputs):
            self._compiled = by_kernels(
                weight, bias, algorithm(tiles.m, size), tiles.cut, group, Finish(slope=slope)
            )
            return
        a, _, b = as_tensors(matrices(tiles.m, size), torch.float32)
        self._results, self._inputs = a, b
        weights, biases = in_other_form(weight, bias, tiles.m)
        self._products = _Products(weights, biases, group, tiles.tiles)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, finished, channels last."""
        if self._compiled is not None:
            return self._compiled(x.contiguous(memory_format=torch.channels_last))
        found = x.new_empty(len(x), *self._tiles.outputs, self._channels)
        self._by_operators(x, found)
        return found.permute(0, 3, 1, 2)

    def _by_operators(self, x: Tensor, found: Tensor) -> None:
        work = self._tiles
        tiles = work.of_inputs(x)
        spaces = x.new_empty(work.numbers), x.new_empty(work.numbers)
        ways: dict[Shape, _Way] = {}
        for pictures, rows in work.pieces():
            piece = tiles[pictures, rows]
            key = len(piece), rows.start
            if key not in ways:
                ways[key] = self._way(piece, rows, found, spaces)
            ways[key](piece, pictures)

    def _way(
        self, piece: Tensor, rows: slice, found: Tensor, spaces: tuple[Tensor, Tensor]
    ) -> _Way:
        """Return how pieces of so many pictures and these rows run."""
        m, places = self._tiles.m, piece.shape[:3]
        form = OtherForm(self._inputs, tuple(piece.shape[:4]), spaces)
        change = Change(self._results, (math.prod(places), self._channels), *spaces)
        made = change.result.view(*places, m, m, -1)
        puts = list(self._tiles.puts(made, found, rows))
        return _Way(form, self._products, change, self._finish, puts)


@dataclass
class _Way:
    """How some pieces run by PyTorch's operators, with all of their memory."""

    form: OtherForm
    products: _Products
    change: Change
    finish: Callable[[Tensor], object]
    puts: Sequence[tuple[Tensor, Tensor]]

    def __call__(self, piece: Tensor, pictures: slice) -> None:
        self.form(piece)
        self.change(self.products(self.form.result))
        self.finish(self.change.result)
        for places, own in self.puts:
            places[pictures].copy_(own)


class _Products:
    """Tiles' products with weights, place by place, of tiles that lie (tile, place, channel).

    oneDNN is given all of them as one convolution of as many groups.

    Parameters
    ----------
    weights : Tensor
        (place, output, input of a group).
    bias : Tensor
        (place, output).
    group : int
        How many groups of channels there are.
    tiles : int
        How many tiles come at a time; fewer are filled up, since another number of them may take
        weights in another order, into which they would be brought each time.
    """

    def __init__(self, weights: Tensor, bias: Tensor, group: int, tiles: int) -> None:
        places, outputs, inputs = weights.shape
        self._groups, self._tiles = places * group, tiles
        self._weights = weights.view(self._groups, outputs // group, inputs)
        self._bias = bias.view(self._groups, 1, -1)
        self._is_packed = onednn.multiplies_quicker()
        if self._is_packed:
            kernels = weights.view(places * outputs, inputs, 1, 1)
            shape = (1, self._groups * inputs, tiles, 1)
            self._geometry = ((0, 0), (1, 1), (1, 1), self._groups)
            self._weights = onednn.packed_weights()(kernels, *self._geometry, shape)
            self._bias = bias.view(-1)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the products of (tile, place, channel), in the same form."""
        if self._is_packed:
            count, x = len(x), x.reshape(len(x), -1)
            if count < self._tiles:
                x = torch.cat((x, x.new_zeros(self._tiles - count, x.shape[1])))
            column = x.view(1, len(x), 1, -1).permute(0, 3, 1, 2)
            how: tuple[Any, ...] = (self._weights, self._bias, *self._geometry, "none", [], "")
            found = onednn.packed_convolution()(column, *how).permute(0, 2, 3, 1)
            return found[:, :count]
        # Rows that step over others' take a product half as long again.
        by_place = x.view(len(x), self._groups, -1).transpose(0, 1).contiguous()
        found = torch.baddbmm(self._bias, by_place, self._weights.transpose(1, 2))
        return found.transpose(0, 1).contiguous()


def are_compiled(inputs: int, outputs: int) -> bool:
    """Tell whether kernels of our own know so many channels, read and made."""
    return bool(llvm.width_within(min(inputs, outputs)))


@functools.cache
def algorithm(m: int, size: int) -> tiled.Algorithm:
    """Return the algorithm for tiles of m x m results, and kernels of a size."""
    return tiled.Algorithm(m, *matrices(m, size))


def by_kernels(
    weight: Tensor,
    bias: Tensor | None,
    algorithm: tiled.Algorithm,
    cut: Cut,
    group: int,
    finish: Finish,
    memory: Memory = ANYWHERE,
    short: bool = False,
) -> tiled.Tiled:
    """Return the convolution by kernels of our own; weights change in the type that they have."""
    inputs, outputs = weight.shape[1] * group, len(weight)
    weights, biases = in_other_form(weight, bias, algorithm.m)
    count = cut.most(algorithm.places, inputs + outputs, math.prod(weight.shape[:2]))
    products = [
        Products(w, b, PLAIN, count, memory)
        for w, b in zip(weights.chunk(group, 1), biases.chunk(group, 1), strict=True)
    ]
    return tiled.Tiled(algorithm, cut, inputs, outputs, products, finish, short)


def as_tensors(rows: Sequence[list[list[float]]], dtype: torch.dtype) -> list[Tensor]:
    return [torch.tensor(matrix, dtype=dtype) for matrix in rows]
