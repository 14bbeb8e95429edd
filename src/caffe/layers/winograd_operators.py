"""Bringing squares of numbers into Winograd's other form by PyTorch's operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..memory.blob import Shape
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor


class Change:
    """A product of both axes of squares of numbers, (number, place, place, channel), with a matrix.

    Parameters
    ----------
    matrix : Tensor
        (places made, places).
    shape : tuple of int
        How many squares of how many channels there are.
    half, space : Tensor
        Where one axis's products, and then both's, are put. What is multiplied may lie in `space`.
    """

    def __init__(self, matrix: Tensor, shape: Shape, half: Tensor, space: Tensor) -> None:
        (number, channels), (rows, size) = shape, matrix.shape
        self._is_one = number == 1
        if self._is_one:
            # As many products as there are places across are quicker than one that is so wide.
            self._shape, halves = (size, size, channels), _in(half, size, rows, channels)
            self._halves, self._turned = halves, halves.transpose(0, 1)
            number = size
        else:
            self._shape = number, size, size * channels
            self._halves = _in(half, number, rows, size * channels)
            self._turned = self._halves.view(number * rows, size, channels)
        self.result = _in(space, len(self._turned), rows, channels)
        self._down, self._across = (
            matrix.expand(n, rows, size) for n in (number, len(self._turned))
        )

    def __call__(self, x: Tensor) -> None:
        squares = x.view(self._shape)
        torch.bmm(
            self._down, squares.transpose(0, 1) if self._is_one else squares, out=self._halves
        )
        torch.bmm(self._across, self._turned, out=self.result)


class OtherForm:
    """Tiles of one shape in the other form, in the first of two spaces.

    It lies (tile, place, channel), or (place, tile, channel) by place.
    """

    def __init__(
        self, matrix: Tensor, shape: Shape, spaces: tuple[Tensor, Tensor], by_place: bool = False
    ) -> None:
        (here, there), (rows, size), tiles = spaces, matrix.shape, math.prod(shape[:3])
        self._order = (4, 5, 0, 1, 2, 3) if by_place else (0, 1, 2, 4, 5, 3)
        squares = (1, tiles * shape[3]) if by_place else (tiles, shape[3])
        lying = (size, size, *shape) if by_place else (*shape[:3], size, size, shape[3])
        self._gathered = _in(here, *lying)
        self._change = Change(matrix, squares, there, here)
        whole = (rows**2, tiles, shape[3]) if by_place else (tiles, rows**2, shape[3])
        self.result = self._change.result.view(whole)

    def __call__(self, tiles: Tensor) -> None:
        self._gathered.copy_(tiles.permute(self._order))
        self._change(self._gathered)


def changed(matrix: Tensor, x: Tensor) -> Tensor:
    """Return the product of both of the first axes of `x` with a matrix."""
    rows, (size, _, count) = len(matrix), x.shape
    spaces = x.new_empty(size * rows * count), x.new_empty(rows * rows * count)
    change = Change(matrix, (1, count), *spaces)
    change(x.contiguous())
    return change.result.view(rows, rows, count)


def _in(space: Tensor, *shape: int) -> Tensor:
    """The first numbers of some memory, in a shape."""
    return space[: math.prod(shape)].view(shape)
