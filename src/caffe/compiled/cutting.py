"""How pictures are cut into tiles, and which of these are worked on by whom, in which memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pytorch import torch
from . import caches
from .blocks import SHAPES
from .lanes import Loop, advancing, in_lanes
from .llvm import Job, width
from .memory import LINE
from .rows import Rows
from .tiles import FIRST

if TYPE_CHECKING:
    from torch import Tensor

MOST_PIECE = min(2**22, caches.last() // 8)
LEAST_PIECE = min(2**20, MOST_PIECE)
"""How many numbers of tiles, read and made, are worked on at a time: as many as stay in the second
cache, or, since all weights are read for each piece, twice as many as these, but no more than stay
in the last one."""

LANE = caches.second() // 8
"""How many numbers of tiles a thread works on at a time by itself: they stay in its own cache."""

MOST_WEIGHTS = caches.second()
"""How many bytes of weights each thread may read for as many tiles as that."""

MOST_MEMORY = 2**23
"""How many numbers all threads may have for that: more would come from the system each time."""


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
        count = self.pictures * math.prod(self.grid)
        return _parts(0, count, self.most(places, channels, pairs))

    def lanes(self, places: int, channels: int, pairs: int, together: int = 1) -> list[list[range]]:
        """Return which tiles each thread works on by itself, some at a time.

        There is one list, of all threads, where these share the weights since there are many, or
        where there are few tiles.

        Parameters
        ----------
        places, channels, pairs : int
            See `pieces`.
        together : int
            How many tiles cannot be parted.
        """
        rows, threads = SHAPES[width()][0][0], torch.get_num_threads()
        count, most = self.pictures * math.prod(self.grid), LANE // (places * channels)
        are_few = min(most, count // threads) < max(rows, together)
        are_many = 4 * places * pairs > MOST_WEIGHTS
        if are_few or are_many or threads * (places * pairs + LANE) > MOST_MEMORY:
            threads, step = 1, max(1, self.most(places, channels, pairs) // together)
        else:
            step = max(1, most // rows * rows // together)
        bounds = [count // together * i // threads for i in range(threads + 1)]
        return [_parts(*both, step, together) for both in itertools.pairwise(bounds)]

    def most(self, places: int, channels: int, pairs: int) -> int:
        """Return how many tiles these are at most; 1 of none."""
        count = self.pictures * math.prod(self.grid)
        piece = min(max(LEAST_PIECE, 2 * places * pairs), MOST_PIECE)
        parts = math.ceil(count / max(1, piece // (places * channels)))
        return math.ceil(count / parts) if parts else 1


def _parts(start: int, stop: int, step: int, together: int = 1) -> list[range]:
    """Return pieces of `step` units, of so many tiles each, from one unit to before another."""
    return [
        range(together * first, together * min(first + step, stop))
        for first in range(start, stop, step)
    ]


OfPiece = Callable[[int, range, "Tensor", "Tensor"], "Iterable[tuple[Job, int]]"]
"""Gives what works on a piece, with the lane's number, and memory for what is read and made.

Beside each job is for how many tiles, or pictures, its `FIRST` counts the piece.
"""


class Work:
    """Which tiles are worked on at a time, by whom, and in which memory.

    Parameters
    ----------
    lanes : sequence of lists of range
        Of each thread by itself, or one, of all of them.
    places : int
        How many a tile has in the other form.
    read, made : int
        How many channels the tiles have that are read, and made.

    Attributes
    ----------
    most : int
        How many tiles are worked on at a time, at most; 1 of none.
    lanes : int
        How many lanes there are.
    threads : int or None
        How many threads work on a piece: one, or all.
    """

    def __init__(self, lanes: Sequence[list[range]], places: int, read: int, made: int) -> None:
        self._pieces, self._places, self._channels = lanes, places, (read, made)
        self.most = max((len(piece) for pieces in lanes for piece in pieces), default=1)
        self.lanes = len(lanes)
        self.threads = None if len(lanes) == 1 else 1

    @property
    def size(self) -> int:
        """How much memory it needs."""
        sizes = (_size(self.most, self._places, n) for n in self._channels)
        return self.lanes * sum(sizes)

    def jobs(
        self,
        memory: Tensor,
        of_piece: OfPiece,
        before: Sequence[Sequence[Job]] = (),
        behind: Sequence[Sequence[Job]] = (),
    ) -> list[Job]:
        """Return what works on all pieces, with some jobs of each lane before and behind them."""
        lanes = []
        for lane, pieces in enumerate(self._pieces):
            read, memory = _tiles(memory, self.most, self._places, self._channels[0])
            made, memory = _tiles(memory, self.most, self._places, self._channels[1])
            parts = [(lane, p, read[: len(p)], made[: len(p)]) for p in pieces]
            firsts, lasts = (some[lane] if some else () for some in (before, behind))
            if self.threads is None:
                return [*firsts, *(job for part in parts for job, _ in of_piece(*part)), *lasts]
            alike = itertools.groupby(parts, lambda part: len(part[1]))
            loops = [
                loop
                for _, some in alike
                for loop in _repeated(list(of_piece(*next(some))), len([*some]))
            ]
            lanes.append([Loop(firsts), *loops, Loop(lasts)])
        return [in_lanes(lanes)]


def _repeated(jobs: Sequence[tuple[Job, int]], others: int) -> list[Loop]:
    """Return what works on a piece, and on so many others of its size behind it."""
    moving = [(job, step) for job, step in jobs if step and others]
    onward = [advancing(job, FIRST, step) for job, step in moving]
    # They may run again.
    back = [advancing(job, FIRST, -step * (1 + others)) for job, step in moving]
    return [Loop([*(job for job, _ in jobs), *onward], 1 + others), Loop(back)]


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


def of_group(tiles: Tensor, i: int, group: int) -> Rows:
    """The rows that tiles are in the other form, of one group of channels."""
    step, place = tiles.stride()[:2]
    return Rows(tiles.data_ptr() + 4 * i * (tiles.shape[2] // group), step, place)
