"""Convolutions by Winograd's algorithm, and their gradients, where weights are new each time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..pytorch import torch
from . import laying
from .again import Again, lent
from .blocks import PLAIN, Block
from .code import Factors
from .cutting import Cut, Work, of_group
from .llvm import Job, width, width_within
from .memory import LINE
from .products import Packed, Products
from .rows import Rows
from .squares import ChangingSquares, Lying
from .tiled import Algorithm
from .tiles import AddingFromOtherForm, FromOtherForm, ToOtherForm
from .transposed import TransposedProducts

if TYPE_CHECKING:
    from torch import Tensor

    Shape = tuple[int, ...]


def convolved(
    algorithm: Algorithm,
    cut: Cut,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    group: int,
    is_turned: bool = False,
) -> Tensor:
    """Return a convolution with weights, (output, input of a group, height, width).

    Parameters
    ----------
    algorithm : Algorithm
        Which.
    cut : Cut
        How the pictures are cut.
    x : Tensor
        They lie channels last, as the result does.
    is_turned : bool
        Whether it is the gradient by what a convolution with these weights reads.
    """
    outputs = weight.shape[1] * group if is_turned else len(weight)
    found = x.new_empty(len(x), *cut.outputs, outputs)
    with lent(_Convolution, algorithm, cut, tuple(weight.shape), group, is_turned) as way:
        way.weights.begin_with(bias, way.ones)
        way.run(x, weight.contiguous(), found)
    return found.permute(0, 3, 1, 2)


def gradient(algorithm: Algorithm, cut: Cut, diff: Tensor, weight: Tensor, group: int) -> Tensor:
    """Return the gradient by what a convolution with the weights reads: the way back through it.

    It has as many tiles as the convolution itself; as a convolution of the gradient by the results,
    see `convolved`, it has more of them where there is little padding.

    Parameters
    ----------
    algorithm : Algorithm
        The convolution's.
    cut : Cut
        How its pictures are cut.
    diff : Tensor
        The gradient by the results, channels last.
    """
    found = diff.new_zeros(len(diff), *cut.size, weight.shape[1] * group)
    with lent(_WayBack, algorithm, cut, tuple(weight.shape), group) as way:
        way.run(diff, weight.contiguous(), found)
    return found.permute(0, 3, 1, 2)


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
    inputs, outputs, size = x.shape[1], diff.shape[1], algorithm.m
    with lent(_WeightGradient, algorithm, cut, inputs, outputs, group) as way:
        kernels = x.new_empty(way.lanes, size, size, outputs, inputs // group)
        way.run(diff, x, kernels)
    whole = kernels[0] if len(kernels) == 1 else kernels.sum(0)
    return whole.permute(2, 3, 0, 1)


class ToOtherFormPacked:
    """Brings a convolution's weights into the other form, packed, place by place.

    Parameters
    ----------
    block : Block
        For which they are packed.
    shape : tuple of int
        The weights', (output, input, height, width).
    matrix : sequence of sequences of float
        (places, height), of their rows and columns.
    is_turned : bool
        Whether they are those of the gradient by what the convolution reads: outputs are read and
        inputs made, and kernels are turned around.
    """

    def __init__(self, block: Block, shape: Shape, matrix: Factors, is_turned: bool) -> None:
        first, second, *size = shape
        self.outputs, self.inputs = (second, first) if is_turned else (first, second)
        self._pixels, self._columns = math.prod(size), block.columns
        self._blocks, self._is_turned = block.across(self.outputs), is_turned
        self._shape = (len(matrix) ** 2, self._blocks, self.inputs, block.columns)
        self._laid = self.inputs * self._pixels * self._blocks * block.columns
        self._change = ChangingSquares(matrix, is_turned, width())

    @property
    def size(self) -> int:
        """How much memory it needs, with the weights in the other form in it."""
        return math.prod(self._shape) + self._laid

    def weights(self, memory: Tensor) -> Tensor:
        """Return the memory's part where they lie, (place, block, input, column)."""
        return memory[: math.prod(self._shape)].view(self._shape)

    def jobs(self, weight: int, memory: Tensor) -> Iterator[Job]:
        """Yield what does so with the weights at an address."""
        found = self.weights(memory)
        laid, columns = memory[found.numel() :].data_ptr(), self._columns
        whole, rest = divmod(self.outputs, columns)
        if rest:
            # Columns that are none are computed, too.
            yield laying.clearing(laid, self._laid)
        if self._is_turned:
            # (input, place, output).
            step = self._blocks * columns
            rows = Rows(laid, step)
            yield laying.to_rows(weight, rows, self.inputs, self._pixels, self.outputs)
            lying = Lying(laid, step, self._pixels * step, columns)
        else:
            # (block, input, place, output of it).
            numbers = self.inputs * self._pixels
            for first, count, some in ((0, whole, columns), (whole, 1, rest)):
                if count * some:
                    behind = 4 * first * numbers * columns
                    rows = Rows(laid + behind, columns)
                    yield laying.to_rows(weight + behind, rows, count, numbers, some)
            lying = Lying(laid, columns, self._pixels * columns, numbers * columns)
        there = Lying(found.data_ptr(), found.stride(0), columns, self.inputs * columns)
        yield self._change.job(lying, there, self.inputs, self._blocks, columns)


class _Weights:
    """All groups' weights in the other form, for each lane its own, and products with them.

    Parameters
    ----------
    work : Work
        What is done with them.
    shape, matrix, is_turned
        See `ToOtherFormPacked`, but for all groups.
    group : int
        How many groups of channels there are.
    """

    def __init__(
        self, work: Work, shape: Shape, matrix: Factors, group: int, is_turned: bool
    ) -> None:
        of_group = (shape[0] // group, *shape[1:])
        self._work, self._numbers = work, math.prod(of_group)
        self._outputs, self._inputs = of_group[1::-1] if is_turned else of_group[:2]
        self._block = Block.best(work.most, self._outputs, width())
        self._way = ToOtherFormPacked(self._block, of_group, matrix, is_turned)
        # They change each time, in whatever mode it is.
        with torch.inference_mode(False):
            biases = torch.zeros(len(matrix) ** 2, self._outputs, dtype=torch.float32)
            self._biases = [self._block.padded(biases) for _ in range(group)]

    @property
    def size(self) -> int:
        """How much memory they need."""
        return self._work.lanes * len(self._biases) * self._way.size

    def begin_with(self, bias: Tensor | None, ones: Tensor) -> None:
        """Have products begin with biases, if any, where products that are `ones` are results."""
        for i, biases in enumerate(self._biases):
            ours = biases[:, : self._outputs]
            if bias is None:
                ours.zero_()
            else:
                own = bias.detach()[i * self._outputs : (i + 1) * self._outputs]
                torch.outer(ones, own, out=ours)

    def made(self, weight: Tensor, memory: Tensor) -> tuple[list[list[Job]], list[list[Products]]]:
        """Return what brings them into the other form, and their products, for each lane."""
        jobs, products = [], []
        for lane in memory.view(self._work.lanes, len(self._biases), -1):
            jobs.append(
                [
                    job
                    for i, own in enumerate(lane)
                    for job in self._way.jobs(weight.data_ptr() + 4 * i * self._numbers, own)
                ]
            )
            products.append(
                [self._product(own, b) for own, b in zip(lane, self._biases, strict=True)]
            )
        return jobs, products

    def _product(self, memory: Tensor, biases: Tensor) -> Products:
        packed = Packed(self._block, self._way.weights(memory), self._outputs, self._inputs)
        found = Products(packed, biases[:, : self._outputs], PLAIN, self._work.most)
        # These change each time.
        found.biases = biases
        return found


class _ByWeights:
    """What reads tiles, multiplies them with weights and brings them back, again and again.

    Parameters
    ----------
    places : int
        How many a tile has in the other form.
    shape, matrix, group, is_turned
        See `_Weights`.
    together : int
        How many tiles cannot be parted.
    """

    def __init__(
        self,
        cut: Cut,
        places: int,
        shape: Shape,
        matrix: Factors,
        group: int,
        is_turned: bool,
        together: int = 1,
    ) -> None:
        wide = shape[1] * group
        self.inputs, self.outputs = (shape[0], wide) if is_turned else (wide, shape[0])
        self.cut = cut
        lanes = cut.lanes(places, self.inputs + self.outputs, shape[0] * shape[1], together)
        self._work = Work(lanes, places, self.inputs, self.outputs)
        self.weights = _Weights(self._work, shape, matrix, group, is_turned)
        self._again = Again(self._jobs)

    def run(self, x: Tensor, weight: Tensor, found: Tensor) -> None:
        """Compute it of what is read."""
        changed, tiles = x.new_empty(self.weights.size), x.new_empty(self._work.size)
        self._again.run(x, weight, found, changed, tiles)

    def _jobs(
        self, x: Tensor, weight: Tensor, found: Tensor, changed: Tensor, tiles: Tensor
    ) -> list[Job]:
        before, products = self.weights.made(weight, changed)
        rows = Rows(x.data_ptr(), self.inputs)

        def of_piece(
            lane: int, piece: range, read: Tensor, made: Tensor
        ) -> Iterator[tuple[Job, int]]:
            yield self.to_other_form(rows, piece.start, read), len(piece)
            for i, product in enumerate(products[lane]):
                theirs, ours = (of_group(t, i, len(products[lane])) for t in (read, made))
                yield product.job(theirs, ours, len(piece), threads=self._work.threads), 0
            yield self.back(made, piece, found)

        return self._work.jobs(tiles, of_piece, before)

    def to_other_form(self, x: Rows, first: int, read: Tensor) -> Job:
        """Return what reads tiles from the `first` on."""
        raise NotImplementedError

    def back(self, made: Tensor, piece: range, found: Tensor) -> tuple[Job, int]:
        """Return what brings tiles back, and by how much it goes on to the next piece."""
        raise NotImplementedError


class _Convolution(_ByWeights):
    """A convolution, or the gradient by what it reads as one."""

    def __init__(
        self, algorithm: Algorithm, cut: Cut, shape: Shape, group: int, is_turned: bool
    ) -> None:
        super().__init__(cut, algorithm.places, shape, algorithm.weights, group, is_turned)
        self._to = ToOtherForm(algorithm.inputs, algorithm.m, self.inputs)
        self._back = FromOtherForm(algorithm.results, self.outputs)
        self.ones = algorithm.ones.float()

    def to_other_form(self, x: Rows, first: int, read: Tensor) -> Job:
        return self._to.job(x, self.cut.size, self.cut.grid, self.cut.pad, first, read)

    def back(self, made: Tensor, piece: range, found: Tensor) -> tuple[Job, int]:
        rows, cut = Rows(found.data_ptr(), self.outputs), self.cut
        return self._back.job(made, cut.grid, piece.start, rows, cut.outputs), len(piece)


class _WayBack(_ByWeights):
    """The gradient by what a convolution reads, back through its tiles."""

    def __init__(self, algorithm: Algorithm, cut: Cut, shape: Shape, group: int) -> None:
        self._tiles = math.prod(cut.grid)
        # The kernels are not turned around here, but their places are.
        turned = [row[::-1] for row in algorithm.weights]
        super().__init__(cut, algorithm.places, shape, turned, group, True, self._tiles)
        self._to = ToOtherForm(_turned(algorithm.results), cut.m, self.inputs)
        self._back = AddingFromOtherForm(_turned(algorithm.inputs), cut.m, self.outputs)

    def to_other_form(self, x: Rows, first: int, read: Tensor) -> Job:
        return self._to.job(x, self.cut.outputs, self.cut.grid, (0, 0), first, read)

    def back(self, made: Tensor, piece: range, found: Tensor) -> tuple[Job, int]:
        first, count = piece.start // self._tiles, len(piece) // self._tiles
        return self._back.job(made, self.cut.grid, self.cut.pad, first, found), count


def _turned(matrix: Factors) -> Factors:
    return list(zip(*matrix, strict=True))


class _WeightGradient:
    """The gradient by a convolution's weights, to be run again and again."""

    def __init__(
        self, algorithm: Algorithm, cut: Cut, inputs: int, outputs: int, group: int
    ) -> None:
        self._places, self._cut, self._group = algorithm.places, cut, group
        self._inputs, self._outputs = inputs, outputs
        lanes = cut.lanes(algorithm.places, inputs + outputs, inputs * outputs // group)
        self._work = Work(lanes, algorithm.places, inputs, outputs)
        self._to = ToOtherForm(algorithm.inputs, cut.m, inputs)
        self._ours = ToOtherForm(algorithm.weights, cut.m, outputs)
        self._columns, self._rows = inputs // group, outputs // group
        self._product = TransposedProducts(self._rows, self._columns)
        self._change = ChangingSquares(algorithm.results, False, width_within(self._columns))
        # Behind the last ones are as many numbers as a block has.
        self._sums = algorithm.places * outputs * self._columns + 4 * LINE
        self._again = Again(self._jobs)

    @property
    def lanes(self) -> int:
        """How many results there are, which are to be added up."""
        return self._work.lanes

    def run(self, diff: Tensor, x: Tensor, found: Tensor) -> None:
        sums = x.new_empty(self.lanes, self._sums)
        self._again.run(diff, x, found, sums, x.new_empty(self._work.size))

    def _jobs(
        self, diff: Tensor, x: Tensor, found: Tensor, sums: Tensor, tiles: Tensor
    ) -> list[Job]:
        cut, columns = self._cut, self._columns
        step = self._outputs * columns
        pixels, gradients = (Rows(t.data_ptr(), t.shape[1]) for t in (x, diff))

        def of_piece(
            lane: int, piece: range, read: Tensor, made: Tensor
        ) -> Iterator[tuple[Job, int]]:
            first, count = piece.start, len(piece)
            yield self._to.job(pixels, cut.size, cut.grid, cut.pad, first, read), count
            yield self._ours.job(gradients, cut.outputs, cut.grid, (0, 0), first, made), count
            for i in range(self._group):
                ours, theirs = (of_group(t, i, self._group) for t in (made, read))
                begin = sums[lane].data_ptr() + 4 * i * self._rows * columns
                there = Rows(begin, columns, step)
                yield self._product.job(ours, theirs, there, count, self._places), 0

        before = [[laying.clearing(own.data_ptr(), len(own))] for own in sums]
        behind = [
            [
                self._change.job(
                    Lying(own.data_ptr(), step, columns),
                    Lying(result.data_ptr(), step, columns),
                    *(self._outputs, 1, columns),
                )
            ]
            for own, result in zip(sums, found, strict=True)
        ]
        return self._work.jobs(tiles, of_piece, before, behind)
