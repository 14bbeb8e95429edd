"""What is computed of a net's values by kernels that LLVM compiles."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...compiled import depthwise
from ...compiled.average_pooling import AveragePooling
from ...compiled.blocks import PLAIN, Finish
from ...compiled.convolving import Convolving, Windows
from ...compiled.cutting import Cut
from ...compiled.dots import AT_ONCE, Dots
from ...compiled.functions import Function
from ...compiled.lengths import ToLength
from ...compiled.llvm import Job, width_for
from ...compiled.max_pooling import MaxPooling
from ...compiled.memory import Memory
from ...compiled.normalizing import Normalizing
from ...compiled.pointwise import How, Pointwise
from ...compiled.products import Products
from ...compiled.rows import Pictures, Rows
from ...compiled.softmax import softmax
from ...compiled.tiled import Tiled
from ...compiled.turned import Turned
from ...layers import winograd
from ...pytorch import torch
from ..plan.convolution import folded
from .llvm_values import Value

if TYPE_CHECKING:
    from torch import Tensor

FEW_ROWS = 2
"""Up to how many rows an InnerProduct's weights are read as they lie."""

MANY_WEIGHTS = 2**22
"""From how many weights on they are for more rows, too: a copy would take as much memory again."""

READING = 24
"""How many multiply-adds take the time in which a number is read from memory."""

IN_TILES = 4
"""How many times as many weights there are, roughly, where Winograd's algorithm reads them."""

CLEAR = 0.5
"""Which share of the time, by reckoning, is so small that none is measured."""

MANY = 256
"""How many numbers make a row that is long enough."""

MOST_PLANES = 4
"""Up to how many channels a convolution reads its pictures as Caffe has them."""


Tiles = Mapping[int, Sequence[int]]
"""By the kernel's size, how many results across a tile of Winograd's algorithm may have."""

Way = Callable[[Memory], "list[Job]"]
"""Returns what computes a value, its weights in this memory, once all values have their places."""


class Node(ABC):
    """Computes one value.

    Attributes
    ----------
    inputs : list of Value
        What from.
    output : Value
        Which.
    finish : Finish
        What becomes of the sums, where it knows that.
    can_finish : bool
        Whether it knows.
    makes_rows : bool
        Whether what it computes may lie as some channels of another value.
    is_by_picture : bool
        Whether it computes each picture by itself, and would as well compute some of them.
    """

    can_finish = False
    makes_rows = True
    is_by_picture = False

    def __init__(self, inputs: Sequence[Value], output: Value) -> None:
        self.inputs = list(inputs)
        self.finish: Finish = PLAIN
        self.make(output)
        self._kept: list[Any] = []

    def make(self, output: Value) -> None:
        """Compute another value from now on, which follows from what it was."""
        self.output = output
        output.maker = self

    @property
    def short(self) -> bool:
        """Whether the values are short numbers."""
        return self.output.short

    @property
    def is_plain(self) -> bool:
        """Whether nothing follows its sums yet."""
        return self.can_finish and self.finish == PLAIN

    @property
    def is_plain_but_for_sums(self) -> bool:
        """Whether an activation can follow."""
        return self.can_finish and replace(self.finish, has_added=False) == PLAIN

    @property
    def weights_bytes(self) -> int:
        """Roughly, how many bytes of weights it reads."""
        return 0

    @property
    def ways(self) -> list[Way]:
        """Return how it can be computed: by one way, or several of which one is the quickest."""
        return [self.jobs]

    @abstractmethod
    def jobs(self, memory: Memory) -> list[Job]:
        """Return what computes it; see `Way`."""

    def forget(self) -> None:
        """Drop what jobs so far need."""
        self._kept.clear()

    @property
    def overwritten(self) -> Value | None:
        """A value that it reads, and in whose place it may compute, number by number."""
        return None

    def release(self) -> None:  # noqa: B027 - most have nothing of the kind
        """Drop what jobs do not need that have been made."""

    def keep(self, kernel: Any) -> Any:
        """Keep what a job needs for as long as the node."""
        self._kept.append(kernel)
        return kernel


class Linear(Node):
    """A product with weights; what follows it by channel is folded into these."""

    can_finish = True

    @property
    def weights_bytes(self) -> int:
        return self.weight.numel() * self.output.dtype.itemsize

    def __init__(self, x: Value, output: Value, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__([x], output)
        self.weight = weight
        self.bias = weight.new_zeros(len(weight)) if bias is None else bias

    def fold(self, factor: Tensor | None, summand: Tensor | None) -> None:
        """Multiply channels of the result and add to them."""
        wide = self.weight.double().view(len(self.weight), -1, 1, 1), self.bias.double()
        weight, bias = folded(*wide, factor, summand)
        self.weight, self.bias = weight.float().view(self.weight.shape), bias.float()

    @property
    def can_add(self) -> bool:
        """Whether another value can be added to the result."""
        return not self.finish.has_added

    @property
    def added(self) -> Rows | None:
        """Where the numbers lie that are added."""
        return self.inputs[1].rows if self.finish.has_added else None

    @property
    def overwritten(self) -> Value | None:
        return self.inputs[1] if self.finish.has_added else None

    def release(self) -> None:
        self.weight = self.bias = torch.empty(0, dtype=torch.float32)

    def add(self, other: Value, output: Value) -> None:
        """Add another value to the result, whatever becomes of it before."""
        self.inputs.append(other)
        self.finish = replace(self.finish, has_added=True, adds_last=self.finish != PLAIN)
        self.make(output)


class InnerProductNode(Linear):
    """Rows of numbers times weights."""

    def jobs(self, memory: Memory) -> list[Job]:
        x, y, (outputs, inputs) = self.inputs[0], self.output, self.weight.shape
        count = x.pixels
        is_read_once = not self.finish.has_added and outputs % AT_ONCE == 0
        steps = math.ceil(inputs / 2) if self.short else inputs
        if count <= FEW_ROWS and is_read_once and inputs % 2 == 0 and width_for(steps):
            dots: Dots = self.keep(Dots(self.weight, self.bias, self.finish, self.short))
            return [dots.job(x.rows, y.rows, count)]
        is_large = self.weight.numel() >= MANY_WEIGHTS and not self.short
        if is_large and not self.finish.has_added and Turned.takes(count, inputs):
            turned: Turned = self.keep(Turned(self.weight, self.bias, self.finish, count, memory))
            return turned.jobs(x.rows, y.rows)
        products = self.keep(
            Products(self.weight[None], self.bias[None], self.finish, count, memory, self.short)
        )
        return [products.job(x.rows, y.rows, added=self.added)]


class ConvolutionNode(Linear):
    """A convolution of pictures, with what is added to it."""

    is_by_picture = True

    def __init__(
        self, x: Value, output: Value, weight: Tensor, bias: Tensor | None, windows: Windows,
        group: int, tiles: Tiles,
    ) -> None:  # fmt: skip
        super().__init__(x, output, weight, bias)
        self._windows, self._group, self._tiles = windows, group, tiles

    @property
    def weights_bytes(self) -> int:
        by_tiles = self._may_use_tiles and not self.reads_planes
        return super().weights_bytes * (IN_TILES if by_tiles else 1)

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is convolved by itself, or a few of them together."""
        together, channels = self.weight.shape[1], self.inputs[0].channels
        return self._group > 1 and depthwise.takes(channels, len(self.weight), together)

    @property
    def can_add(self) -> bool:
        return super().can_add and not self.is_depthwise

    @property
    def reads_planes(self) -> bool:
        """Whether it reads an input's pictures as Caffe has them."""
        x = self.inputs[0]
        return (
            x.planes is not None
            and x not in self.inputs[1:]
            and self._group == 1
            and x.channels <= MOST_PLANES
            and self._windows.dilation[1] == 1
            and self._windows.lie_within(x.size)
        )

    @property
    def pad(self) -> tuple[int, int]:
        """How many zeros it wants around the pictures."""
        return self._windows.pad

    @property
    def ways(self) -> list[Way]:
        if self.reads_planes or self.is_depthwise or not self._may_use_tiles:
            return [self.jobs]
        is_clear = self._best_tiles[1] <= CLEAR
        return [self._by_tiles] if is_clear else [self.jobs, self._by_tiles]

    @functools.cached_property
    def _best_tiles(self) -> tuple[int, float]:
        """How many results across tiles best have, and which share of the direct way's time it is.

        Roughly: of large tiles there are fewer, but each place of one has weights to be read.
        """
        size, y, pairs = self._windows.kernel[0], self.output, self.weight[..., 0, 0].numel()
        changing = winograd.CHANGING_COMPILED * (self.inputs[0].channels + y.channels)

        def work(m: int) -> int:
            tiles = y.shape[0] * math.ceil(y.size[0] / m) * math.ceil(y.size[1] / m)
            return (m + size - 1) ** 2 * (tiles * (pairs + changing) + READING * pairs)

        best = min(self._tiles[size], key=work)
        return best, work(best) / (self.weight.numel() * (y.pixels + READING))

    @property
    def overwritten(self) -> Value | None:
        # By tiles the whole result is there before anything is added.
        return None if self._by_tiles in self.ways else super().overwritten

    def jobs(self, memory: Memory) -> list[Job]:
        if self.reads_planes:
            return [self._of_planes(memory)]
        return [self._by_channel()] if self.is_depthwise else self._directly(memory)

    def _by_channel(self) -> Job:
        x, y = self.inputs[0], self.output
        by_channel: depthwise.Depthwise = self.keep(
            depthwise.Depthwise(self.weight, self.bias, self._windows, self.finish, self.short)
        )
        return by_channel.job(x.rows, x.size, y.shape[0], y.rows)

    def _of_planes(self, memory: Memory) -> Job:
        x, windows, number = self.inputs[0], self._windows, self.output.shape[0]
        assert x.planes is not None
        height, width = (n + 2 * p for n, p in zip(x.size, x.pad, strict=True))
        # It begins as far inside the zeros as others want more of them.
        inside = [p - own for p, own in zip(x.pad, windows.pad, strict=True)]
        size = x.dtype.itemsize
        address = x.planes.data_ptr() + size * (inside[0] * width + inside[1])
        pictures = Pictures(
            address, (height, width), 1, width, x.channels * height * width, size
        )  # fmt: skip
        unpadded = replace(windows, pad=(0, 0))
        convolving: Convolving = self.keep(
            Convolving(
                self.weight, self.bias, unpadded, self.finish, number, height * width, memory,
                self.short,
            )
        )  # fmt: skip
        return convolving.job(pictures, self.output.rows, self.added)

    def _directly(self, memory: Memory) -> list[Job]:
        x, y, windows = self.inputs[0], self.output, self._windows
        # Padding may be below and to the right alone.
        is_padded = windows.pad != (0, 0) or x.size != y.size
        is_product = windows.kernel == windows.stride == (1, 1) and not is_padded
        jobs = []
        for rows, found, added, weight, bias in self._groups(x.rows, y.rows):
            if is_product:
                matrix = weight.flatten(1)[None]
                products = self.keep(
                    Products(matrix, bias[None], self.finish, y.pixels, memory, self.short)
                )
                jobs.append(products.job(rows, found, added=added))
                continue
            convolving = self.keep(
                Convolving(weight, bias, windows, self.finish, y.shape[0], 0, memory, self.short)
            )
            jobs.append(convolving.job(Pictures.of(rows, x.size), found, added))
        return jobs

    def _groups(self, x: Rows, y: Rows) -> list[tuple[Rows, Rows, Rows | None, Tensor, Tensor]]:
        """Each group's rows, results, what is added, weights and biases."""
        outputs, inputs = len(self.weight) // self._group, self.weight.shape[1]
        added = self.added
        return [
            (
                x.behind(i * inputs),
                y.behind(i * outputs),
                None if added is None else added.behind(i * outputs),
                self.weight[i * outputs : (i + 1) * outputs],
                self.bias[i * outputs : (i + 1) * outputs],
            )
            for i in range(self._group)
        ]

    @property
    def _may_use_tiles(self) -> bool:
        windows, x = self._windows, self.inputs[0]
        return (
            windows.stride == windows.dilation == (1, 1)
            and winograd.saves(
                windows.kernel, tuple(self.weight.shape), self.output.size, self._group
            )
            and bool(width_for(x.channels) and width_for(len(self.weight)))
        )

    def _by_tiles(self, memory: Memory) -> list[Job]:
        """By Winograd's algorithm, some tiles at a time."""
        x, y, size = self.inputs[0], self.output, self._windows.kernel[0]
        m = self._best_tiles[0]
        cut = Cut(y.shape[0], x.size, y.size, self._windows.pad, m)
        finish = self.finish.parted[0] if self.finish.has_added else self.finish
        tiled: Tiled = self.keep(
            winograd.by_kernels(
                self.weight.double(), self.bias.double(), winograd.algorithm(m, size), cut,
                self._group, finish, memory, self.short,
            )
        )  # fmt: skip
        jobs = tiled.jobs(x.rows, y.rows, self.keep(memory.scratch(tiled.scratch)))
        return [*jobs, self._sum()] if self.finish.has_added else jobs

    def _sum(self) -> Job:
        """What adds to the result, and finishes it."""
        y, how = self.output, How(other="sum", finish=self.finish.parted[1])
        pointwise: Pointwise = self.keep(Pointwise(how, y.channels, short=self.short))
        return pointwise.job(y.rows, y.rows, y.pixels, self.added)


class PoolingNode(Node):
    """Windows' maxima, or their means, where `shares` says of how many pixels."""

    is_by_picture = True

    def __init__(self, x: Value, output: Value, windows: Windows, shares: Tensor | None) -> None:
        super().__init__([x], output)
        self._windows, self._shares = windows, shares

    def jobs(self, memory: Memory) -> list[Job]:
        (x,), y, windows = self.inputs, self.output, self._windows
        if self._shares is not None:
            average = self.keep(AveragePooling(windows, self._shares, x.channels, self.short))
            return [average.job(x.rows, x.size, y.shape[0], y.rows)]
        kernel, stride, pad = windows.kernel, windows.stride, windows.pad
        most = self.keep(MaxPooling(kernel, stride, pad, x.channels, self.short))
        return [most.job(x.rows, x.size, y.shape[0], y.rows, y.size)]


class NormalizingNode(Node):
    """Local response normalisation across channels."""

    is_by_picture = True

    def __init__(self, x: Value, output: Value, size: int, alpha: float, k: float) -> None:
        super().__init__([x], output)
        self._normalizing = Normalizing(size, alpha, k, x.channels, x.short)

    def jobs(self, memory: Memory) -> list[Job]:
        (x,) = self.inputs
        return [self._normalizing.job(x.rows, self.output.rows, x.pixels)]


class LengthNode(Node):
    """Rows brought to one length, times factors."""

    def __init__(self, x: Value, output: Value, summand: float, factors: Tensor) -> None:
        super().__init__([x], output)
        self._to_length = ToLength(summand, factors)

    def jobs(self, memory: Memory) -> list[Job]:
        (x,) = self.inputs
        return [self._to_length.job(x.rows, self.output.rows, x.pixels)]


class PointwiseNode(Node):
    """Numbers changed one by one, or by those of another value, whose rows may be for several."""

    can_finish = True
    is_by_picture = True

    def __init__(
        self,
        inputs: Sequence[Value],
        output: Value,
        other: str = "",
        factor: Tensor | None = None,
        summand: Tensor | None = None,
        slopes: Tensor | None = None,
    ) -> None:
        super().__init__(inputs, output)
        self._other = other
        self._affine: list[Tensor | None] = [None, None]
        if slopes is not None:
            self._affine[0] = slopes.expand(output.channels).contiguous()
        elif factor is not None or summand is not None:
            ones, zeros = (torch.full((output.channels,), x, dtype=torch.float32) for x in (1, 0))
            self._affine = [
                ones if factor is None else factor.float(),
                zeros if summand is None else summand.float(),
            ]

    def is_just(self, function: Function) -> bool:
        """Whether it does nothing but compute a function."""
        is_alone = not self._other and self._affine == [None, None]
        return is_alone and self.finish == replace(PLAIN, function=function)

    def jobs(self, memory: Memory) -> list[Job]:
        x, *others = self.inputs
        is_affine = self._affine[1] is not None
        has_slopes = self._affine[0] is not None and not is_affine
        each = x.pixels // others[0].pixels if others else 1
        how = How(is_affine, has_slopes, self._other, each > 1, self.finish)
        places = [value.rows for value in (x, self.output, *others)]
        times = 1 if each > 1 else _together(x, places)
        factor, summand = (None if one is None else one.repeat(times) for one in self._affine)
        channels = times * x.channels
        rows, found, *beside = (replace(place, step=place.step * times) for place in places)
        changed = self.keep(Pointwise(how, channels, factor, summand, self.short))
        count = x.pixels // times
        return [changed.job(rows, found, count, beside[0] if beside else None, each)]


def _together(x: Value, places: Sequence[Rows]) -> int:
    """How many rows to take as one, where nothing lies between them: short ones fill no vector."""
    if any(place.step != x.channels for place in places):
        return 1
    times = 1
    while times * x.channels < MANY and x.pixels % (2 * times) == 0:
        times *= 2
    return times


class SoftmaxNode(Node):
    """Each row's numbers as shares of 1."""

    def jobs(self, memory: Memory) -> list[Job]:
        (x,), y = self.inputs, self.output
        return [softmax(x.rows, y.rows, x.pixels, x.channels)]
