"""How windows' results are shared out among a GPU's programs, for kernels of any kind of window.

Channels come last; channels first are so many pictures of one channel. Numbers beside each other
that a thread loads at once, up to 16 bytes, are a vector. A program has the vectors of a block of
channels, of columns and of rows: a rectangle, so that what its windows share is loaded from the
GPU's memory once.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .kernel import Kernel, power_of_two

if TYPE_CHECKING:
    import triton.language as tl
    from torch import Tensor

THREADS = 128
"""How many vectors a program has at most."""

DEPTH, NEAR = 8, 16
"""How many vectors beside each other in memory are enough: whole lines of it, or single numbers."""

MOST = 2**30
"""How many numbers a picture may have, so that 32 bits count them and what is a bit larger."""


def fits(x: Tensor) -> bool:
    """Tell whether 32 bits count a picture's numbers."""
    return x.numel() < MOST * max(1, len(x))


def vector_of(x: Tensor, channels: int) -> int:
    """How many numbers of a place a thread loads at once."""
    most = 16 // x.element_size()
    return min(most, channels & -channels)


@functools.lru_cache(maxsize=1024)
def block_of(vectors: int, height: int, width: int) -> tuple[int, int, int]:
    """Return a program's rows, columns and vectors at each place: powers of two.

    Parameters
    ----------
    vectors : int
        At each place.
    height, width : int
        Of what is computed.
    """
    # At most an eighth of the threads without work.
    depth = max(d for d in (1, 2, 4, DEPTH) if -(-vectors // d) * d * 8 <= vectors * 9)
    at_least = min(NEAR // depth, power_of_two(width)) if depth < DEPTH else 1

    def rows(columns: int) -> int:
        return min(THREADS // depth // columns, power_of_two(height))

    def cost(columns: int) -> int:
        programs = -(-height // rows(columns)) * -(-width // columns)
        return programs * (rows(columns) + 1) * (columns + 1)

    choices = [2**i for i in range((THREADS // depth).bit_length()) if 2**i >= max(1, at_least)]
    columns = min(choices, key=cost)
    return rows(columns), columns, depth


def shared_out(number: int, vectors: int, height: int, width: int) -> tuple[int, dict[str, int]]:
    """How many programs there are, which `place` tells apart, and what they are compiled for."""
    rows, columns, depth = block_of(vectors, height, width)
    programs = number * -(-vectors // depth) * -(-height // rows) * -(-width // columns)
    warps = max(1, rows * columns * depth // 32)
    return programs, {"rows": rows, "columns": columns, "depth": depth, "num_warps": warps}


# Triton's, see `caffe.gpu.kernel`.


@Kernel
def place(
    vectors: tl.tensor, height: tl.tensor, width: tl.tensor,
    rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """This program's picture, and the row, column and vector of each of its threads."""
    one = tl.arange(0, rows * columns * depth)[:, None]
    # Numbers without a sign are divided in fewer instructions.
    rest = tl.program_id(0).to(tl.uint32)
    deep = ((vectors + depth - 1) // depth).to(tl.uint32)
    across = ((width + columns - 1) // columns).to(tl.uint32)
    down = ((height + rows - 1) // rows).to(tl.uint32)
    vector = (rest % deep).to(tl.int32) * depth + one % depth
    rest = rest // deep
    column = (rest % across).to(tl.int32) * columns + one // depth % columns
    rest = rest // across
    row = (rest % down).to(tl.int32) * rows + one // (depth * columns)
    return (rest // down).to(tl.int64), row, column, vector
