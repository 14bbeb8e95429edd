"""Convolutions of each channel by itself, or of a few together, channels last."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pytorch import F, torch
from .blocks import Finish
from .code import Code, Number, Vector
from .convolving import Windows
from .llvm import Job, Kernel, vectors_for, width_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = ("pixels", "number", "found", "weights", "biases", "zeros")
"""What the kernel is given.

The pixels of so many pictures, and the results; weights and biases; and zeros for what is outside,
where there are windows that have no line of the picture. All else is in its text.
"""

MOST_PIXELS = 49
"""How many pixels a window may have."""

CHUNK = 64
"""How many channels are worked on before the next line of results.

The lines of pictures that the next one reads, too, are still in the cache then; fewer at a time are
not read as quickly.
"""

BESIDE = 7
"""How many results beside each other are computed together: widths are often multiples of it."""


def takes(channels: int, outputs: int, group: int) -> bool:
    """Return whether the kernel knows such a convolution, whose groups have so many inputs.

    Groups' channels are next to each other in one vector.
    """
    vectors = width_for(channels)
    return outputs == channels and (group == 1 or (vectors > 0 and vectors % group == 0))


class Depthwise:
    """A convolution whose every channel has a kernel of its own, finished.

    Parameters
    ----------
    weights : Tensor
        (channel, input of its group, height, width), float32; of the channels see `vectors_for`,
        of groups of several `takes`.
    bias : Tensor
        (channel,).
    windows : Windows
        Which.
    finish : Finish
        What becomes of the sums; nothing is added.
    short : bool
        Whether pictures and results are short numbers.
    """

    def __init__(
        self,
        weights: Tensor,
        bias: Tensor,
        windows: Windows,
        finish: Finish,
        short: bool = False,
    ) -> None:
        self._channels, self._windows, self._finish = len(weights), windows, finish
        self._short = short
        self._vectors, _ = vectors_for(self._channels)
        behind = 0, -self._channels % self._vectors
        self._group = weights.shape[1]
        self._weights = F.pad(_by_turn(weights).flatten(), behind)
        self._bias = F.pad(bias, behind)
        self._zeros: Tensor | None = None

    def job(self, x: Rows, size: tuple[int, int], number: int, found: Rows) -> Job:
        """Return what convolves so many pictures of a height and width."""
        bytes_apart = x.step_bytes, found.step_bytes
        shape = _Shape(self._windows, size, self._channels, bytes_apart, self._short, self._group)
        if shape.has_empty_windows:
            self._zeros = torch.zeros(size[1] * x.step + self._vectors, dtype=torch.float32)
        zeros = 0 if self._zeros is None else self._zeros.data_ptr()
        return Kernel(_text(shape, self._vectors, self._finish)).job(
            x.address, number, found.address,
            self._weights.data_ptr(), self._bias.data_ptr(), zeros,
        )  # fmt: skip


def _by_turn(weights: Tensor) -> Tensor:
    """Return weights as (height, turn, width, channel).

    Channels of a group take turns: the first is that of their own number, then come the next ones.
    """
    channels, group, *_ = weights.shape
    turns = (torch.arange(channels)[:, None] + torch.arange(group)) % group
    taken = turns[..., None, None].expand(weights.shape)
    return weights.gather(1, taken).permute(2, 1, 3, 0)


Taps = list[tuple[int, list[tuple[int, int]]]]
"""Pixels of a line, and in which results they take part at which place of the kernel."""


@dataclass(frozen=True)
class _Shape:
    """What is known of a kernel's pictures.

    Attributes
    ----------
    windows : Windows
        Of which pixels the results are made.
    size : tuple of int
        The pictures' height and width.
    channels : int
        How many they have.
    apart : tuple of int
        How many bytes are from one pixel to the next, and from one result to the next.
    short : bool
        Whether both are short numbers.
    group : int
        How many channels are convolved together.
    """

    windows: Windows
    size: tuple[int, int]
    channels: int
    apart: tuple[int, int]
    short: bool
    group: int

    @property
    def line_weights(self) -> int:
        """How many weights a kernel's line has, of all channels."""
        return self.windows.kernel[1] * self.group * self.channels

    @property
    def has_empty_windows(self) -> bool:
        """Whether there is a window of which no line is in the picture."""
        windows = self.windows
        (kernel, _), (stride, _), (pad, _), (dilation, _) = (
            windows.kernel, windows.stride, windows.pad, windows.dilation
        )  # fmt: skip
        firsts = (row * stride - pad for row in range(windows.results[0]))
        return not all(
            any(0 <= y + k * dilation < self.size[0] for k in range(kernel)) for y in firsts
        )

    def taps(self, start: int, beside: int) -> Taps:
        """Return which pixels of a line are read for some results, and which take part where.

        Each with how far it is from the first window's, and with the results and places of the
        kernel; those outside the picture take no part.
        """
        (_, kernel), (_, stride), (_, pad), (_, dilation) = (
            self.windows.kernel, self.windows.stride, self.windows.pad, self.windows.dilation
        )  # fmt: skip
        found: dict[int, list[tuple[int, int]]] = {}
        for b, k in itertools.product(range(beside), range(kernel)):
            offset = b * stride + k * dilation
            if 0 <= start * stride - pad + offset < self.size[1]:
                found.setdefault(offset, []).append((b, k))
        return sorted(found.items())

    def parted(self, beside: int) -> tuple[list[int], range]:
        """Return where groups of results begin, and of those whose windows lie in the picture.

        The last group begins so that it ends with the line.
        """
        columns, kernel = self.windows.results[1], self.windows.kernel[1]
        starts = list(range(0, columns - beside + 1, beside))
        whole = [
            start
            for start in starts
            if sum(len(taken) for _, taken in self.taps(start, beside)) == beside * kernel
        ]
        if columns % beside:
            starts.append(columns - beside)
        inner = range(whole[0], whole[-1] + 1, beside) if whole else range(0)
        return [start for start in starts if start not in inner], inner


@functools.cache
def _text(shape: _Shape, width: int, finish: Finish) -> str:
    """The kernel for vectors of a width."""
    code = Code(FIELDS, width, shape.short)
    given, (rows, columns) = code.given, shape.windows.results
    beside, result_bytes = min(BESIDE, columns), shape.apart[1]
    vectors = math.ceil(shape.channels / width)
    chunk = min(CHUNK // width, vectors)
    lines = code.multiply(given["number"], rows)
    with code.shared(code.multiply(lines, math.ceil(vectors / chunk))) as i:
        part, line = code.divide(i, lines)
        window = _window(code, shape, line)
        target = code.add(given["found"], code.multiply(line, columns * result_bytes))
        first = code.multiply(part, chunk)
        bounds = first, code.least(code.add(first, chunk), vectors)

        def write(start: Number | int, taps: Taps) -> None:
            """Write some results beside each other, of the chunk's channels."""
            with code.loop(*bounds) as vector:
                sums = _sums(code, shape, window, vector, start, taps, beside)
                channel = code.multiply(vector, width * code.bytes)
                left = None
                if shape.channels % width:
                    left = code.subtract(shape.channels, code.multiply(vector, width))
                for b, value in enumerate(sums):
                    result = code.multiply(code.add(start, b), result_bytes)
                    place = code.add(code.add(target, result), channel)
                    code.put(finish.write(code, value, None), place, left)

        edges, inner = shape.parted(beside)
        for start in edges:
            write(start, shape.taps(start, beside))
        if inner:
            with code.loop(inner.start, inner.stop, beside) as place:
                write(place, shape.taps(inner.start, beside))
    return code.text


@dataclass
class _Window:
    """The lines of the windows of a line of results that are in the picture.

    Attributes
    ----------
    line : Number
        Where the first one begins, of the first channel.
    count : Number
        How many there are, one at least.
    weights, bias : Number
        Where the first one's weights lie, and the bias.
    """

    line: Number
    count: Number
    weights: Number
    bias: Number


def _window(code: Code, shape: _Shape, number: Number) -> _Window:
    """What the windows of a line of results of all pictures read."""
    given, windows, (height, across) = code.given, shape.windows, shape.size
    kernel, dilation = windows.kernel[0], windows.dilation[0]
    picture, row = code.divide(number, windows.results[0])
    y = code.subtract(code.multiply(row, windows.stride[0]), windows.pad[0])
    above = code.covering(code.most(code.subtract(0, y), 0), dilation)
    first = code.least(above, kernel - 1)
    inside = code.covering(code.most(code.subtract(height, y), 0), dilation)
    count = code.subtract(code.least(inside, kernel), above)
    top = code.add(y, code.multiply(first, dilation))
    place = code.multiply(code.add(top, code.multiply(picture, height)), across * shape.apart[0])
    line = code.add(given["pixels"], place)
    if shape.has_empty_windows:
        line = code.where([code.is_within(code.subtract(count, 1), kernel)], line, given["zeros"])
        count = code.most(count, 1)
    weights = code.multiply(first, 4 * shape.line_weights)
    return _Window(line, count, code.add(given["weights"], weights), given["biases"])


def _sums(
    code: Code,
    shape: _Shape,
    window: _Window,
    vector: Number,
    start: Number | int,
    taps: Taps,
    beside: int,
) -> list[Vector]:
    """The sums of some results beside each other, from one of the line on."""
    windows, step = shape.windows, shape.apart[0]
    channel, parameter = (code.multiply(vector, code.width * n) for n in (code.bytes, 4))
    column = code.subtract(code.multiply(start, windows.stride[1]), windows.pad[1])
    first = code.add(code.add(window.line, channel), code.multiply(column, step))
    line_bytes = windows.dilation[0] * shape.size[1] * step
    weight_bytes = 4 * shape.channels
    used = {k for _, taken in taps for _, k in taken}
    bias = code.load(code.add(window.bias, parameter))
    with code.adding_up(window.count, [bias] * beside) as sums:
        line = code.add(first, code.multiply(sums.index, line_bytes))
        passed = code.multiply(sums.index, 4 * shape.line_weights)
        weights = code.add(code.add(window.weights, parameter), passed)
        for turn in range(shape.group):
            own = code.add(weights, turn * windows.kernel[1] * weight_bytes)
            factors = {k: code.load(code.add(own, k * weight_bytes)) for k in sorted(used)}
            for offset, taken in taps:
                pixel = code.value(code.add(line, offset * step))
                if turn:
                    pixel = _turned(code, pixel, turn, shape.group)
                for b, k in taken:
                    sums.values[b] = code.plus_product(sums.values[b], pixel, factors[k])
    return sums.values


def _turned(code: Code, values: Vector, turn: int, group: int) -> Vector:
    """A vector in whose places those of the same group's numbers are that come so much later."""
    places = (divmod(place, group) for place in range(code.width))
    return code.picked(values, values, [n * group + (own + turn) % group for n, own in places])
