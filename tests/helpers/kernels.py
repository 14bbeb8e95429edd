"""Where kernels' numbers lie in tests: inside of larger tensors, in rows with others between."""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from caffe.compiled import again
from caffe.compiled.blocks import PLAIN, Finish
from caffe.compiled.rows import Rows

OTHERS = 7.0
"""What lies around results."""

READ_BEHIND = 64
"""How many numbers behind a row of added ones may be read."""

FINISHES = [
    PLAIN,
    Finish(slope=0.0),
    Finish(slope=0.1),
    Finish(slope=0.0, most=0.5),
    Finish(slope=-0.5, least=0.25, most=1.5),
    Finish(least=-0.25),
]
"""One of each kind."""


@contextmanager
def made_anew() -> Iterator[None]:
    """Let nothing inside run what was made before, nor what is behind what was made inside."""
    again.forget()
    try:
        yield
    finally:
        again.forget()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch have so many threads, and as many as before in the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rows(*shape: int, between: int = READ_BEHIND, short: bool = False) -> Tensor:
    """Random numbers whose rows are farther apart than they are long, and matrices yet farther."""
    *matrices, count, length = shape
    whole = torch.randn(*matrices, count + 1, length + between)
    return (whole.bfloat16() if short else whole)[..., :count, :length]


def lying(x: Tensor) -> Rows:
    """Where rows lie, or pixels of pictures (number, height, width, channel)."""
    return Rows(x.data_ptr(), x.stride(-2), x.stride(0), x.itemsize)


def pictures(
    number: int, height: int, width: int, channels: int, short: bool = False
) -> Tensor:  # fmt: skip
    """Random pixels, channels last, in each of which there are more channels than are read."""
    pixels = rows(number * height * width, channels, short=short)
    return _shaped(pixels, (number, height, width, channels))


def beside_nothing(*shape: int, is_before: bool) -> Tensor:
    """Random numbers; the process ends if what lies directly before or behind them is read."""
    size = 4 * math.prod(shape)
    inside = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = torch.frombuffer(mmap.mmap(-1, inside + 2 * mmap.PAGESIZE), dtype=torch.float32)
    protect = ctypes.CDLL(None).mprotect
    for offset in (0, mmap.PAGESIZE + inside):
        page = ctypes.c_void_p(whole.data_ptr() + offset)
        assert protect(page, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    first = (mmap.PAGESIZE + (0 if is_before else inside - size)) // 4
    return whole[first : first + math.prod(shape)].view(shape).normal_()


def _shaped(pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Rows in another shape; also of axes of length 1 it is known how far the next number is."""
    steps = [pixels.stride(0) * math.prod(shape[i + 1 : -1]) for i in range(len(shape) - 1)]
    return pixels.as_strided(shape, (*steps, 1))


def finished(sums: Tensor, finish: Finish, added: Tensor | None = None) -> Tensor:
    """What becomes of sums."""
    if added is not None and finish.adds_last:
        return finished(sums, finish) + added.double()
    if added is not None:
        sums = sums + added.double()
    if finish.slope == 0:
        sums = sums.relu()
    elif finish.slope != 1:
        sums = torch.where(sums < 0, finish.slope * sums, sums)
    if finish.least > -math.inf:
        sums = sums.clamp(min=finish.least)
    return sums.clamp(max=finish.most) if finish.most < math.inf else sums


class Inside:
    """A place for results with other numbers before, between and behind its rows.

    Attributes
    ----------
    place : Tensor
        Of the shape that was asked for: rows, matrices of them, or pixels of pictures.
    """

    def __init__(self, *shape: int, matrices: int = 0, short: bool = False) -> None:
        *counts, length = shape
        count = math.prod(counts)
        others = (matrices,) if matrices else ()
        self._whole = torch.full((*others, count + 2, length + 9), OTHERS)
        self._whole = self._whole.bfloat16() if short else self._whole
        part = self._whole[..., 1:-1, 3:-6]
        self.place = part if matrices else _shaped(part, shape)

    @property
    def rows(self) -> Rows:
        """Where it lies."""
        return lying(self.place)

    def assert_equal(self, expected: Tensor, tolerance: float = 1e-6) -> None:
        """Compare it with what was computed in float64, and look at what lies around it.

        The tolerance is of the largest value.
        """
        most = float(expected.abs().max())
        torch.testing.assert_close(
            self.place.double(), expected.double(), rtol=0, atol=tolerance * most
        )
        self.place[...] = OTHERS
        assert bool((self._whole == OTHERS).all())
