"""Convolutions by Winograd's algorithm as a whole."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pytorch import torch
from .blocks import PLAIN, Finish
from .code import Factors
from .cutting import Cut, Work, of_group
from .llvm import Job, Program
from .products import Products
from .rows import Rows
from .tiles import FromOtherForm, ToOtherForm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
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
        self._cut, self._products = cut, products
        self._inputs, self._outputs = inputs, outputs
        sizes = algorithm.places, inputs + outputs, inputs * outputs // len(products)
        self._work = Work([cut.pieces(*sizes)], algorithm.places, inputs, outputs)
        self._to = ToOtherForm(algorithm.inputs, algorithm.m, inputs, short)
        self._back = FromOtherForm(algorithm.results, outputs, finish, short)

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
        return self._work.size

    def jobs(self, x: Rows, found: Rows, scratch: Tensor) -> list[Job]:
        """Return what convolves pictures, piece by piece; `scratch` is kept by who keeps them."""
        cut, group = self._cut, len(self._products)

        def of_piece(_: int, piece: range, read: Tensor, made: Tensor) -> Iterator[tuple[Job, int]]:
            count = len(piece)
            yield self._to.job(x, cut.size, cut.grid, cut.pad, piece.start, read), count
            for i, product in enumerate(self._products):
                rows, ours = (of_group(t, i, group) for t in (read, made))
                yield product.job(rows, ours, count), 0
            yield self._back.job(made, cut.grid, piece.start, found, cut.outputs), count

        return self._work.jobs(scratch, of_piece)
