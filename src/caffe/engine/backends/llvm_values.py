"""Values of a net whose kernels are compiled by LLVM: their shapes, and where they lie."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field, replace
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
    """One value: pictures as rows of channels, one for each pixel, or numbers in Caffe's order.

    Attributes
    ----------
    shape : tuple of int
        The blob's. Pictures have four axes.
    is_plain : bool
        Whether a value of four axes is no pictures, but lies in Caffe's order, as all others do:
        their rows are along the last axis.
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
    is_plain: bool = False
    readers: int = 0
    is_wanted: bool = False
    planes: Tensor | None = None
    pad: tuple[int, int] = (0, 0)
    # The nodes have the values: a cycle would keep all weights until it is found.
    _maker: weakref.ref[Node] | None = None
    _whole: tuple[Value, int] | None = None
    _same: Value | None = None
    _is_seen_whole: bool = False
    _memory: Tensor | None = field(default=None, repr=False)
    _constant: Tensor | None = field(default=None, repr=False)

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
    def is_of_pictures(self) -> bool:
        """Whether it is rows of channels, one for each pixel."""
        return len(self.shape) == 4 and not self.is_plain

    @property
    def channels(self) -> int:
        """How many numbers a row has."""
        return self.shape[1 if self.is_of_pictures else -1]

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width."""
        return (self.shape[2], self.shape[3]) if len(self.shape) == 4 else (1, 1)

    @property
    def pixels(self) -> int:
        """How many rows there are."""
        return math.prod(self.shape) // self.channels

    @property
    def is_in_order(self) -> bool:
        """Whether its numbers lie in Caffe's order, be there something between the rows or not."""
        return not self.is_of_pictures or self.channels == 1 or math.prod(self.size) == 1

    @property
    def is_dense(self) -> bool:
        """Whether nothing lies between its rows."""
        return self._whole is None

    @property
    def may_lie_in_another(self) -> bool:
        """Whether it can be made as some channels of another value.

        What is wanted may be changed in its place.
        """
        is_free = self.maker is not None and self.maker.makes_rows and not self.is_wanted
        return is_free and self._whole is None and not self._is_seen_whole

    def lie_in(self, whole: Value, first: int) -> None:
        """Be the channels from `first` on of another value."""
        self._whole = whole, first

    def alike(self, shape: Shape, is_plain: bool = False) -> Value:
        """Return another value of such numbers."""
        return Value(shape, self.short, is_plain)

    def see(self, other: Value) -> None:
        """Be the numbers of another value, between whose rows nothing lies, as they lie."""
        other._is_seen_whole = True
        self._same = other

    def seen_as(self, shape: Shape, is_plain: bool = True) -> Value:
        """Return a value of another shape that is this one's numbers, as they lie."""
        found = self.alike(shape, is_plain)
        found.see(self)
        return found

    @property
    def is_seen(self) -> bool:
        """Whether it is another value's numbers in a shape of its own, or is seen so itself."""
        return self._same is not None or self._is_seen_whole

    @property
    def root(self) -> Value:
        """The value in which it lies in the end."""
        if self._same is not None:
            return self._same.root
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
        if self._same is not None:
            return replace(self._same.rows, step=self.channels)
        assert self._memory is not None
        return Rows(self._memory.data_ptr(), self.channels, bytes=self.dtype.itemsize)

    def strides(self, step: int) -> list[int]:
        """Return how far the next number along each axis is, where the next row is so far."""
        if self.is_of_pictures:
            height, width = self.size
            return [height * width * step, 1, width * step, step]
        rows = [step * math.prod(self.shape[i + 1 : -1]) for i in range(len(self.shape) - 1)]
        return [*rows, 1]

    @property
    def places(self) -> Tensor:
        """A tensor without numbers, of its shape, and whose strides are those in memory."""
        strides = self.strides(self.rows.step)
        return torch.empty_strided(self.shape, strides, dtype=torch.float32, device="meta")

    @property
    def inside(self) -> Tensor:
        """An input's numbers, without the zeros around them."""
        assert self.planes is not None
        (top, left), (height, width) = self.pad, self.size
        inside = self.planes[:, :, top : top + height, left : left + width]
        return inside if len(self.shape) == 4 else inside.flatten(1)

    @property
    def constant(self) -> Tensor | None:
        """What it is where that is known before anything runs."""
        return self._constant

    def be(self, constant: Tensor) -> None:
        """Be what is known now, in all its digits: it may be places in pictures."""
        self._be(constant, short=False)

    def rounded(self) -> Value:
        """Return what is known in short numbers, as kernels read it beside others."""
        assert self._constant is not None
        found = self.alike(self.shape)
        found._be(self._constant, short=True)
        return found

    def _be(self, constant: Tensor, short: bool) -> None:
        self.short, self.is_plain, self._constant = short, True, constant
        memory = torch.zeros(self.count, dtype=torch.float32)
        memory.view(self.dtype)[: constant.numel()] = constant.flatten()
        self.settle(memory)

    @property
    def memory(self) -> Tensor:
        """Where it lies, with what is behind it."""
        assert self._memory is not None
        return self._memory

    def tensor(self) -> Tensor:
        """Return it as a tensor of its shape, which the next run overwrites."""
        if self.planes is not None:
            return self.inside
        memory = self.root._memory
        assert memory is not None
        numbers = memory.view(self.dtype)
        first = (self.rows.address - memory.data_ptr()) // self.dtype.itemsize
        strides = self.strides(self.rows.step)
        return numbers.as_strided(self.shape, strides, numbers.storage_offset() + first)


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
