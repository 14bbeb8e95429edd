"""Values of a net whose kernels are compiled by LLVM: their shapes, and where they lie."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...compiled.memory import Memory
from ...compiled.rows import Rows
from ...memory.blob import Shape
from ...pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .llvm_nodes import Node

SLACK = 64
"""How many float32 numbers behind a value may be read, and are not used."""


@dataclass(eq=False)
class Value:
    """One value: rows of channels, one for each pixel of each picture.

    Attributes
    ----------
    shape : tuple of int
        The blob's: (number, channels), or (number, channels, height, width).
    readers : int
        How many layers read it.
    is_wanted : bool
        Whether it is asked for when all has run.
    planes : Tensor or None
        An input's numbers as Caffe has them.
    pad : tuple of int
        How many zeros lie around an input's planes, above and below, and at both sides.
    short : bool
        Whether its numbers are bfloat16; float32 otherwise.
    """

    shape: Shape
    short: bool = False
    readers: int = 0
    is_wanted: bool = False
    planes: Tensor | None = None
    pad: tuple[int, int] = (0, 0)
    # The nodes have the values: a cycle would keep all weights until it is found.
    _maker: weakref.ref[Node] | None = None
    _whole: tuple[Value, int] | None = None
    _memory: Tensor | None = field(default=None, repr=False)

    @property
    def maker(self) -> Node | None:
        """What computes it; None for an input."""
        return None if self._maker is None else self._maker()

    @maker.setter
    def maker(self, node: Node) -> None:
        self._maker = weakref.ref(node)

    @property
    def is_passed_on(self) -> bool:
        """Whether nobody but one layer reads it: that may be joined with what computes it."""
        return self.readers == 1 and not self.is_wanted

    @property
    def channels(self) -> int:
        """How many numbers a row has."""
        return self.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width."""
        return (self.shape[2], self.shape[3]) if len(self.shape) == 4 else (1, 1)

    @property
    def pixels(self) -> int:
        """How many rows there are."""
        return self.shape[0] * math.prod(self.size)

    @property
    def may_lie_in_another(self) -> bool:
        """Whether it can be made as some channels of another value.

        What is wanted may be changed in its place.
        """
        is_free = self.maker is not None and self.maker.makes_rows and not self.is_wanted
        return is_free and self._whole is None

    def lie_in(self, whole: Value, first: int) -> None:
        """Be the channels from `first` on of another value."""
        self._whole = whole, first

    @property
    def root(self) -> Value:
        """The value in which it lies in the end."""
        return self if self._whole is None else self._whole[0].root

    @property
    def count(self) -> int:
        """How many float32 numbers' memory it takes."""
        numbers = self.pixels * self.channels
        return (math.ceil(numbers / 2) if self.short else numbers) + SLACK

    @property
    def dtype(self) -> torch.dtype:
        """What its numbers are."""
        return torch.bfloat16 if self.short else torch.float32

    def settle(self, memory: Tensor) -> None:
        """Lie in this memory from now on."""
        self._memory = memory

    @property
    def rows(self) -> Rows:
        """Where it lies."""
        if self._whole is not None:
            whole, first = self._whole
            return whole.rows.behind(first)
        assert self._memory is not None
        return Rows(self._memory.data_ptr(), self.channels, bytes=self.dtype.itemsize)

    @property
    def inside(self) -> Tensor:
        """An input's numbers, without the zeros around them."""
        assert self.planes is not None
        (top, left), (height, width) = self.pad, self.size
        inside = self.planes[:, :, top : top + height, left : left + width]
        return inside if len(self.shape) == 4 else inside.flatten(1)

    def tensor(self) -> Tensor:
        """Return it as a tensor of its shape, which the next run overwrites."""
        number, channels, *_ = self.shape
        if self.planes is not None:
            return self.inside
        if self._whole is not None:
            whole, first = self._whole
            return whole.tensor()[:, first : first + channels]
        assert self._memory is not None
        numbers = self._memory.view(self.dtype)
        rows = numbers[: self.pixels * channels].view(number, *self.size, channels)
        pictures = rows.permute(0, 3, 1, 2)
        return pictures if len(self.shape) == 4 else pictures.flatten(1)


class Arena:
    """Memory for values, which others have when the last reader of one has run."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._free: list[Tensor] = []

    def take(self, count: int) -> Tensor:
        """Return memory for so many numbers: the smallest that is free and large enough."""
        fitting = [memory for memory in self._free if len(memory) >= count]
        if not fitting:
            return self._memory.take(count)
        best = min(fitting, key=len)
        self._free = [memory for memory in self._free if memory is not best]
        return best

    def give_back(self, memory: Tensor) -> None:
        """Let others have it."""
        self._free.append(memory)
