"""Winograd's algorithm's way to the other form and back, each in one pass over the pictures."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..pytorch import torch
from .blocks import PLAIN, Finish
from .code import Code, Condition, Factors, Number, Vector
from .llvm import Job, Kernel, width_within
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("tiles", "first", "count", "height", "width", "down", "across", "top", "left"),
    *("pixels", "step", "outside", "channels", "tile", "place"),
)
"""What a kernel is given.

The tiles, with the number of the first one and how many there are; the pictures' size, how many
tiles they have down and across, and by how much these begin before them; the pixels, and how many
bytes lie from one to the next; what stands for pixels outside the pictures; how many channels there
are, and how many bytes from one tile and one place to the next.
"""

FIRST = FIELDS.index("first")


class _Places:
    """The addresses of a tile's squares of pixels in pictures, channels last.

    Parameters
    ----------
    code : Code
        With `FIELDS`.
    tile : Number
        Which one, from the first of all pictures on.
    m, size : int
        How many pixels lie from a tile to the next, and how many a tile has across.
    outside : Number
        The address that stands for all pixels outside the pictures.
    """

    def __init__(self, code: Code, tile: Number, m: int, size: int, outside: Number) -> None:
        given = code.given
        self._outside = outside
        rows, across = code.divide(tile, given["across"])
        picture, down = code.divide(rows, given["down"])
        y = code.subtract(code.multiply(down, m), given["top"])
        x = code.subtract(code.multiply(across, m), given["left"])
        row = code.multiply(given["width"], given["step"])
        first = code.add(code.multiply(picture, given["height"]), y)
        self._corner = code.add(
            given["pixels"], code.add(code.multiply(first, row), code.multiply(x, given["step"]))
        )
        is_row = [code.is_within(code.add(y, i), given["height"]) for i in range(size)]
        is_column = [code.is_within(code.add(x, i), given["width"]) for i in range(size)]
        self.addresses = [
            [self._place(code, (is_row[i], is_column[j]), row, i, j) for j in range(size)]
            for i in range(size)
        ]

    def _place(
        self, code: Code, inside: Sequence[Condition], row: Number, i: int, j: int
    ) -> Number:
        offset = code.add(code.multiply(row, i), code.multiply(code.given["step"], j))
        return code.where(inside, code.add(self._corner, offset), self._outside)


class ToOtherForm:
    """Brings tiles of pictures into the other form: gathered, and both axes by one matrix.

    Parameters
    ----------
    matrix : sequence of sequences of float
        (places, pixels), of a tile's rows and columns.
    m : int
        How many pixels lie from a tile to the next.
    channels : int
        How many the pictures have; `width_within` knows them.
    short : bool
        Whether these are short numbers.
    """

    def __init__(self, matrix: Factors, m: int, channels: int, short: bool = False) -> None:
        text = _to_other_form(tuple(map(tuple, matrix)), m, width_within(channels), short)
        self._kernel = Kernel(text)
        self._zeros = torch.zeros(channels, dtype=torch.float32)

    def __call__(
        self, x: Tensor, grid: tuple[int, int], pad: Sequence[int], first: int, found: Tensor
    ) -> None:
        """Write tiles from the `first` of all pictures on into `found`, (tile, place, channel).

        Parameters
        ----------
        x : Tensor
            Pictures, channels last.
        grid : tuple of int
            How many tiles a picture has down and across.
        pad : sequence of int
            By how much the first tile begins above, and to the left of, a picture.
        first : int
            Which tile is the first one that is written.
        found : Tensor
            As many as are to be written.
        """
        channels, height, width = x.shape[1:]
        rows = Rows(x.data_ptr(), channels)
        self.job(rows, (height, width), grid, pad, first, found).run()

    def job(
        self,
        x: Rows,
        size: tuple[int, int],
        grid: tuple[int, int],
        pad: Sequence[int],
        first: int,
        found: Tensor,
    ) -> Job:
        """Return what does so, from pictures of a height and width."""
        return self._kernel.job(
            found.data_ptr(), first, len(found), *size, *grid, *pad,
            x.address, x.step_bytes, self._zeros.data_ptr(), len(self._zeros),
            *(4 * n for n in found.stride()[:2]),
        )  # fmt: skip


class FromOtherForm:
    """Brings tiles back, both axes by one matrix, and puts them where they belong.

    Parameters
    ----------
    matrix : sequence of sequences of float
        (pixels, places), of a tile's rows and columns.
    channels : int
        How many the pictures have; `width_within` knows them.
    finish : Finish
        What becomes of the results; nothing is added.
    short : bool
        Whether these are short numbers.
    """

    def __init__(
        self, matrix: Factors, channels: int, finish: Finish = PLAIN, short: bool = False
    ) -> None:
        text = _from_other_form(tuple(map(tuple, matrix)), width_within(channels), finish, short)
        self._kernel = Kernel(text)

    def __call__(self, tiles: Tensor, grid: tuple[int, int], first: int, found: Tensor) -> None:
        """Write tiles, (tile, place, channel), as pixels of `found`.

        Parameters
        ----------
        tiles : Tensor
            From the `first` of all pictures on.
        grid : tuple of int
            How many tiles a picture has down and across.
        first : int
            Which tile is the first one that is given.
        found : Tensor
            Pictures, (number, height, width, channels), that tiles may reach beyond.
        """
        height, width = found.shape[1:3]
        rows = Rows(found.data_ptr(), found.stride(2))
        self.job(tiles, grid, first, rows, (height, width)).run()

    def job(
        self,
        tiles: Tensor,
        grid: tuple[int, int],
        first: int,
        found: Rows,
        size: tuple[int, int],
    ) -> Job:
        """Return what does so, to pictures of a height and width."""
        return self._kernel.job(
            tiles.data_ptr(), first, len(tiles), *size, *grid, 0, 0,
            found.address, found.step_bytes, 0, tiles.shape[2],
            *(4 * n for n in tiles.stride()[:2]),
        )  # fmt: skip


class AddingFromOtherForm:
    """Brings tiles back that overlap, and adds them to pictures: `ToOtherForm` gone backward.

    Parameters
    ----------
    matrix : sequence of sequences of float
        (pixels, places), of a tile's rows and columns.
    m : int
        How many pixels lie from a tile to the next.
    channels : int
        How many the pictures have; `width_within` knows them.
    """

    def __init__(self, matrix: Factors, m: int, channels: int) -> None:
        width = width_within(channels)
        self._kernel = Kernel(_adding(tuple(map(tuple, matrix)), m, width, channels % width == 0))

    def job(
        self, tiles: Tensor, grid: tuple[int, int], pad: Sequence[int], first: int, found: Tensor
    ) -> Job:
        """Return what adds the tiles of whole pictures, from the `first` on.

        Parameters
        ----------
        tiles : Tensor
            (tile, place, channel).
        grid : tuple of int
            How many tiles a picture has down and across.
        pad : sequence of int
            By how much the first tile begins above, and to the left of, a picture.
        first : int
            Which picture is the first one whose tiles are given.
        found : Tensor
            All pictures, (number, height, width, channels), one behind the other.
        """
        count, (height, width, channels) = len(tiles) // math.prod(grid), found.shape[1:]
        return self._kernel.job(
            tiles.data_ptr(), first, count, height, width, *grid, *pad,
            found.data_ptr(), 4 * channels, 0, channels, *(4 * n for n in tiles.stride()[:2]),
        )  # fmt: skip


@functools.cache
def _to_other_form(matrix: Factors, m: int, width: int, short: bool) -> str:
    size = len(matrix[0])
    code = Code(FIELDS, width, short)
    given = code.given
    with code.shared(given["count"]) as i:
        places = _Places(code, code.add(i, given["first"]), m, size, given["outside"])
        found = code.add(given["tiles"], code.multiply(i, given["tile"]))
        with code.vectors(0, given["channels"], width) as channel:
            pixel = code.multiply(channel, code.bytes)
            squares = [
                [code.value(code.add(place, pixel)) for place in row] for row in places.addresses
            ]
            columns = [products(code, matrix, column) for column in zip(*squares, strict=True)]
            place = code.add(found, code.multiply(channel, 4))
            for row in zip(*columns, strict=True):
                for value in products(code, matrix, row):
                    code.store(value, place)
                    place = code.add(place, given["place"])
    return code.text


@functools.cache
def _from_other_form(matrix: Factors, width: int, finish: Finish, short: bool) -> str:
    m = len(matrix)
    code = Code(FIELDS, width, short)
    given = code.given
    # Each thread has its own: they would wait for each other's writes.
    spare = code.memory(code.multiply(given["channels"], 4))
    with code.shared(given["count"]) as i:
        places = _Places(code, code.add(i, given["first"]), m, m, spare)
        tile = code.add(given["tiles"], code.multiply(i, given["tile"]))
        with code.vectors(0, given["channels"], width) as channel:
            pixel = code.multiply(channel, code.bytes)
            rows = _brought_back(code, matrix, code.add(tile, code.multiply(channel, 4)))
            for values, addresses in zip(rows, places.addresses, strict=True):
                for value, address in zip(values, addresses, strict=True):
                    code.put(finish.write(code, value, None), code.add(address, pixel))
    return code.text


@functools.cache
def _adding(matrix: Factors, m: int, width: int, is_whole: bool) -> str:
    size = len(matrix)
    code = Code(FIELDS, width)
    given = code.given
    spare = code.memory(code.multiply(given["channels"], 4))
    tiles_of_one = code.multiply(given["down"], given["across"])
    # Tiles of one picture are added by one thread.
    with code.shared(given["count"]) as picture, code.loop(0, tiles_of_one) as t:
        before = code.multiply(given["first"], tiles_of_one)
        i = code.add(code.multiply(picture, tiles_of_one), t)
        places = _Places(code, code.add(before, i), m, size, spare)
        tile = code.add(given["tiles"], code.multiply(i, given["tile"]))
        with code.overlapping(0, given["channels"], width) as (channel, done):
            pixel = code.multiply(channel, 4)
            rows = _brought_back(code, matrix, code.add(tile, pixel))
            for values, addresses in zip(rows, places.addresses, strict=True):
                for value, address in zip(values, addresses, strict=True):
                    target = code.add(address, pixel)
                    total = code.plus(code.load(target), value)
                    if not is_whole:
                        total = code.first(done, code.load(target), total)
                    code.store(total, target)
    return code.text


def _brought_back(code: Code, matrix: Factors, place: Number) -> list[list[Vector]]:
    """A tile's pixels, row by row, of its places, of which the first one lies at an address."""
    size = len(matrix[0])
    squares: list[list[Vector]] = [[] for _ in range(size)]
    for row in squares:
        for _ in range(size):
            row.append(code.load(place))
            place = code.add(place, code.given["place"])
    columns = [_of_pairs(code, matrix, column) for column in zip(*squares, strict=True)]
    return [_of_pairs(code, matrix, values) for values in zip(*columns, strict=True)]


def products(code: Code, matrix: Factors, values: Sequence[Vector]) -> list[Vector]:
    """The product of a matrix with a vector of vectors.

    Where two rows, of a point and of its opposite, differ in nothing but the signs of every second
    factor, sums of each half serve both.
    """
    found: dict[int, Vector] = {}
    for i, row in enumerate(matrix):
        halves = row[::2], row[1::2]
        if i in found:
            continue
        opposite = next((k for k in range(i + 1, len(matrix)) if _are_opposite(row, matrix[k])), 0)
        if not (opposite and any(halves[0]) and any(halves[1])):
            found[i] = code.total(row, values)
            continue
        even, odd = code.total(halves[0], values[::2]), code.total(halves[1], values[1::2])
        found[i] = code.plus(even, odd)
        same = matrix[opposite][::2] == halves[0]
        found[opposite] = code.minus(even, odd) if same else code.minus(odd, even)
    return [found[i] for i in range(len(matrix))]


def _of_pairs(code: Code, matrix: Factors, values: Sequence[Vector]) -> list[Vector]:
    """The same where the columns are those of points and of their opposites, one behind the other.

    Sums and differences of two values serve all rows.
    """
    factors: list[Sequence[float]] = []
    given: list[Vector] = []
    columns = list(zip(*matrix, strict=True))
    while columns:
        column, value = columns.pop(0), values[len(matrix[0]) - len(columns) - 1]
        if columns and any(column[1::2]) and _are_opposite(column, columns[0]):
            other = values[len(matrix[0]) - len(columns)]
            columns.pop(0)
            for start, both in ((0, code.plus(value, other)), (1, code.minus(value, other))):
                factors.append([x if i % 2 == start else 0.0 for i, x in enumerate(column)])
                given.append(both)
        else:
            factors.append(column)
            given.append(value)
    return [code.total(row, given) for row in zip(*factors, strict=True)]


def _are_opposite(row: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two rows differ in nothing but the signs of every second number."""
    return (
        row != other
        and all(
            list(a) in (list(b), [-x for x in b])
            for a, b in ((row[::2], other[::2]), (row[1::2], other[1::2]))
        )
        and any(row[::2])
        and any(row[1::2])
    )
