"""Convolutions by Winograd's algorithm, and their gradients by the weights, as a whole."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pytorch import torch
from . import caches, laying
from .blocks import PLAIN, Block, Finish
from .code import Factors
from .llvm import Job, Program, width, width_within
from .memory import ANYWHERE, LINE
from .products import Packed, Products
from .rows import Rows
from .squares import ChangingSquares, Lying
from .tiles import AddingFromOtherForm, FromOtherForm, ToOtherForm
from .transposed import TransposedProducts

if TYPE_CHECKING:
    from torch import Tensor

MOST_PIECE = min(2**22, caches.last() // 8)
LEAST_PIECE = min(2**20, MOST_PIECE)
"""How many numbers of tiles, read and made, are worked on at a time: as many as stay in the second
cache, or, since all weights are read for each piece, twice as many as these, but no more than stay
in the last one."""


@dataclass(frozen=True)
class Algorithm:
    """Winograd's algorithm for one size of kernels.

    Attributes
    ----------
    m : int
        How many results across a tile has.
    results, weights, inputs : sequence of sequences of float
        What brings results back, (m, places), and weights and inputs into the other form.
    """

    m: int
    results: Factors
    weights: Factors
    inputs: Factors

    @property
    def places(self) -> int:
        """How many places a tile has in the other form."""
        return len(self.inputs) ** 2

    @functools.cached_property
    def ones(self) -> Tensor:
        """Products, place by place, of which every result is 1."""
        line = torch.linalg.pinv(torch.tensor(self.results, dtype=torch.float64)).sum(1)
        return torch.outer(line, line).flatten()


@dataclass(frozen=True)
class Cut:
    """How pictures are cut into tiles.

    Attributes
    ----------
    pictures : int
        How many there are.
    size, outputs : tuple of int
        The height and width of what is read and made.
    pad : tuple of int
        By how much the first tile begins above, and to the left of, a picture.
    m : int
        How many results a tile has across.
    """

    pictures: int
    size: tuple[int, int]
    outputs: tuple[int, int]
    pad: tuple[int, int]
    m: int

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles a picture has down and across."""
        height, width = self.outputs
        return -(-height // self.m), -(-width // self.m)

    def pieces(self, places: int, channels: int, pairs: int) -> list[range]:
        """Return which tiles are worked on together, as few and as equal as can be.

        Parameters
        ----------
        places : int
            How many a tile has in the other form.
        channels, pairs : int
            How many channels are read and made, and how many pairs of both there are weights for.
        """
        count, step = self.pictures * math.prod(self.grid), self.most(places, channels, pairs)
        return [range(first, min(first + step, count)) for first in range(0, count, step)]

    def most(self, places: int, channels: int, pairs: int) -> int:
        """Return how many tiles these are at most; 1 of none."""
        count = self.pictures * math.prod(self.grid)
        piece = min(max(LEAST_PIECE, 2 * places * pairs), MOST_PIECE)
        parts = math.ceil(count / max(1, piece // (places * channels)))
        return math.ceil(count / parts) if parts else 1


def in_other_form(block: Block, weight: Tensor, matrix: Factors, is_turned: bool) -> Tensor:
    """Return a convolution's weights, (output, input, height, width), packed, place by place.

    Parameters
    ----------
    block : Block
        For which they are packed.
    matrix : sequence of sequences of float
        (places, height), of their rows and columns.
    is_turned : bool
        Whether they are those of the gradient by what the convolution reads: outputs are read and
        inputs made, and kernels are turned around.
    """
    weight = weight.contiguous()
    first, second = weight.shape[:2]
    outputs, inputs = (second, first) if is_turned else (first, second)
    pixels, columns = math.prod(weight.shape[2:]), block.columns
    blocks = block.across(outputs)
    if is_turned:
        # (input, place, output).
        step = blocks * columns
        laid = weight.new_empty(inputs * pixels * step)
        if step != outputs:
            laid.zero_()
        rows = Rows(laid.data_ptr(), step)
        laying.to_rows(weight.data_ptr(), rows, inputs, pixels, outputs).run()
        lying = Lying(laid.data_ptr(), step, pixels * step, columns)
    else:
        # (block, input, place, output of it).
        laid = block.packed(weight.view(outputs, -1), ANYWHERE)
        lying = Lying(laid.data_ptr(), columns, pixels * columns, inputs * pixels * columns)
    places = len(matrix) ** 2
    found = weight.new_empty(places, blocks, inputs, columns)
    there = Lying(found.data_ptr(), found.stride(0), columns, inputs * columns)
    change = ChangingSquares(matrix, is_turned, width())
    change.job(lying, there, inputs, blocks, columns).run()
    return found


class Tiled:
    """A convolution of pictures by tiles, with weights in the other form.

    Parameters
    ----------
    algorithm : Algorithm
        Which.
    cut : Cut
        How the pictures are cut.
    inputs, outputs : int
        How many channels are read and made; `width_within` knows them.
    products : sequence of Products
        What multiplies the tiles' places, a group of channels each.
    finish : Finish
        What becomes of the results; nothing is added.
    short : bool
        Whether pictures and results are short numbers.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        cut: Cut,
        inputs: int,
        outputs: int,
        products: Sequence[Products],
        finish: Finish = PLAIN,
        short: bool = False,
    ) -> None:
        self._places, self._cut, self._products = algorithm.places, cut, products
        self._inputs, self._outputs = inputs, outputs
        sizes = self._places, inputs + outputs, inputs * outputs // len(products)
        self._pieces, self._most = cut.pieces(*sizes), cut.most(*sizes)
        self._to = ToOtherForm(algorithm.inputs, algorithm.m, inputs, short)
        self._back = FromOtherForm(algorithm.results, outputs, finish, short)

    @classmethod
    def of(
        cls, algorithm: Algorithm, cut: Cut, weight: Tensor, bias: Tensor | None, group: int,
        is_turned: bool = False,
    ) -> Tiled:  # fmt: skip
        """Return the convolution with weights, (output, input of a group, height, width).

        With `is_turned` it is the gradient by what a convolution with them reads.
        """
        kernels = weight.chunk(group)
        inputs, outputs = kernels[0].shape[:2] if is_turned else kernels[0].shape[1::-1]
        channels, pairs = group * (inputs + outputs), group * inputs * outputs
        count = cut.most(algorithm.places, channels, pairs)
        block = Block.best(count, outputs, width())
        biases = weight.new_zeros(algorithm.places, group * outputs)
        if bias is not None:
            biases += torch.outer(algorithm.ones.to(bias), bias)
        changed = [in_other_form(block, k, algorithm.weights, is_turned) for k in kernels]
        products = [
            Products(
                Packed(block, packed, outputs, inputs), own, PLAIN, count
            )
            for packed, own in zip(changed, biases.chunk(group, 1), strict=True)
        ]  # fmt: skip
        return cls(algorithm, cut, group * inputs, group * outputs, products)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of `x`, channels last, as `x` lies."""
        found = x.new_empty(len(x), *self._cut.outputs, self._outputs)
        pixels, results = Rows(x.data_ptr(), self._inputs), Rows(found.data_ptr(), self._outputs)
        memory = x.new_empty(self.scratch)
        Program(self.jobs(pixels, results, memory)).run()
        return found.permute(0, 3, 1, 2)

    @property
    def scratch(self) -> int:
        """How much memory it needs while it runs."""
        sizes = (_size(self._most, self._places, n) for n in (self._inputs, self._outputs))
        return sum(sizes)

    def jobs(self, x: Rows, found: Rows, scratch: Tensor) -> list[Job]:
        """Return what convolves pictures, piece by piece; `scratch` is kept by who keeps them."""
        cut, places, outputs, group = self._cut, self._places, self._outputs, len(self._products)
        read, left = _tiles(scratch, self._most, places, self._inputs)
        made, _ = _tiles(left, self._most, places, outputs)
        jobs = []
        for piece in self._pieces:
            some = slice(len(piece))
            jobs.append(self._to.job(x, cut.size, cut.grid, cut.pad, piece.start, read[some]))
            for i, product in enumerate(self._products):
                rows, ours = (_of_group(t, i, group) for t in (read, made))
                jobs.append(product.job(rows, ours, len(piece)))
            jobs.append(self._back.job(made[some], cut.grid, piece.start, found, cut.outputs))
        return jobs


def gradient(algorithm: Algorithm, cut: Cut, diff: Tensor, weight: Tensor, group: int) -> Tensor:
    """Return the gradient by what a convolution with the weights reads: the way back through it.

    It has as many tiles as the convolution itself; as a convolution of the gradient by the results,
    see `Tiled.of`, it has more of them where there is little padding.

    Parameters
    ----------
    algorithm : Algorithm
        The convolution's.
    cut : Cut
        How its pictures are cut.
    diff : Tensor
        The gradient by the results, channels last.
    """
    outputs, inputs, places = len(weight), weight.shape[1] * group, algorithm.places
    of_one, channels = math.prod(cut.grid), inputs + outputs
    pictures = max(1, cut.most(places, channels, math.prod(weight.shape[:2])) // of_one)
    most = pictures * of_one
    block = Block.best(most, inputs // group, width())
    # The kernels are not turned around here, but their places are.
    turned = [row[::-1] for row in algorithm.weights]
    biases = weight.new_zeros(places, inputs // group)
    products = [
        Products(
            Packed(block, in_other_form(block, k, turned, True), inputs // group, len(k)),
            biases, PLAIN, most,
        )
        for k in weight.chunk(group)
    ]  # fmt: skip
    memory = diff.new_empty(sum(_size(most, places, n) for n in (outputs, inputs)))
    read, behind = _tiles(memory, most, places, outputs)
    made, _ = _tiles(behind, most, places, inputs)
    to = ToOtherForm(_turned(algorithm.results), cut.m, outputs)
    back = AddingFromOtherForm(_turned(algorithm.inputs), cut.m, inputs)
    found = diff.new_zeros(len(diff), *cut.size, inputs)
    rows, jobs = Rows(diff.data_ptr(), outputs), []
    for first in range(0, len(diff), pictures):
        count = min(pictures, len(diff) - first) * of_one
        tiles = read[:count], made[:count]
        jobs.append(to.job(rows, cut.outputs, cut.grid, (0, 0), first * of_one, tiles[0]))
        for i, product in enumerate(products):
            theirs, ours = (_of_group(t, i, group) for t in tiles)
            jobs.append(product.job(theirs, ours, count))
        jobs.append(back.job(tiles[1], cut.grid, cut.pad, first, found))
    Program(jobs).run()
    return found.permute(0, 3, 1, 2)


def _turned(matrix: Factors) -> Factors:
    return list(zip(*matrix, strict=True))


def weight_gradient(algorithm: Algorithm, cut: Cut, diff: Tensor, x: Tensor, group: int) -> Tensor:
    """Return the gradient by a convolution's weights, (output, input of a group, height, width).

    It is a convolution, too, of each tile that was read with the one that was made of it.

    Parameters
    ----------
    algorithm : Algorithm
        For kernels as large as the convolution's tiles, and as many results as its kernels have.
    cut : Cut
        How the pictures are cut for the convolution.
    diff, x : Tensor
        The gradient by the results, and what the convolution read; both lie channels last.
    """
    inputs, outputs, places, size = x.shape[1], diff.shape[1], algorithm.places, algorithm.m
    of_work = places, inputs + outputs, inputs * outputs // group
    pieces, most = cut.pieces(*of_work), cut.most(*of_work)
    memory = x.new_empty(sum(_size(most, places, n) for n in (inputs, outputs)))
    read, behind = _tiles(memory, most, places, inputs)
    made, _ = _tiles(behind, most, places, outputs)
    to = ToOtherForm(algorithm.inputs, cut.m, inputs)
    ours = ToOtherForm(algorithm.weights, cut.m, outputs)
    columns, rows = inputs // group, outputs // group
    sums = x.new_zeros(places * outputs * columns + 4 * LINE)
    product = TransposedProducts(rows, columns)
    pixels, gradients = (Rows(t.data_ptr(), t.shape[1]) for t in (x, diff))
    jobs = []
    for piece in pieces:
        some = slice(len(piece))
        jobs.append(to.job(pixels, cut.size, cut.grid, cut.pad, piece.start, read[some]))
        jobs.append(ours.job(gradients, cut.outputs, cut.grid, (0, 0), piece.start, made[some]))
        for i in range(group):
            left, right = (_of_group(t, i, group) for t in (made, read))
            found = Rows(sums.data_ptr() + 4 * i * rows * columns, columns, outputs * columns)
            jobs.append(product.job(left, right, found, len(piece), places))
    kernels = x.new_empty(size**2, outputs, columns)
    lying, there = (Lying(t.data_ptr(), outputs * columns, columns) for t in (sums, kernels))
    change = ChangingSquares(algorithm.results, False, width_within(columns))
    jobs.append(change.job(lying, there, outputs, 1, columns))
    Program(jobs).run()
    return kernels.view(size, size, outputs, columns).permute(2, 3, 0, 1)


def _tiles(memory: Tensor, count: int, places: int, channels: int) -> tuple[Tensor, Tensor]:
    """Tiles, (tile, place, channel), at the beginning of some memory, and what is behind them."""
    size, step = _size(count, places, channels), places * channels + LINE
    return memory.as_strided((count, places, channels), (step, channels, 1)), memory[size:]


def _size(count: int, places: int, channels: int) -> int:
    """How much memory tiles take.

    They lie a line of the cache farther apart than need be: by a power of two they would all have
    the same places in the cache. Behind the last one are as many numbers as a block has.
    """
    return count * (places * channels + LINE) + 4 * LINE


def _of_group(tiles: Tensor, i: int, group: int) -> Rows:
    """The rows that tiles are in the other form, of one group of channels."""
    step, place = tiles.stride()[:2]
    return Rows(tiles.data_ptr() + 4 * i * (tiles.shape[2] // group), step, place)
