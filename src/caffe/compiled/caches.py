"""How large the processor's caches are, as Linux tells it of the first CPU."""

from __future__ import annotations

import functools

from ..threads import words_of

SECOND, LAST = 2**20, 2**25
"""What is taken for each CPU's second cache, and for the last one, where nothing tells."""

UNITS = {"K": 2**10, "M": 2**20}

MOST = 10
"""How many caches a CPU has at most."""


def second(root: str = "/") -> int:
    """Return how many bytes the second cache has, which is the CPU's own.

    Parameters
    ----------
    root : str
        Below which folder Linux's ``sys`` is.
    """
    return _sizes(root).get("2", SECOND)


def last(root: str = "/") -> int:
    """Return how many bytes the largest cache has; see `second`."""
    return max(_sizes(root).values(), default=LAST)


@functools.cache
def _sizes(root: str) -> dict[str, int]:
    """How many bytes the caches have, by level."""
    found = {}
    for i in range(MOST):
        cache = f"sys/devices/system/cpu/cpu0/cache/index{i}"
        for level, size in zip(
            words_of(root, f"{cache}/level"), words_of(root, f"{cache}/size"), strict=False
        ):
            if size[:-1].isdecimal() and int(size[:-1]):
                found[level] = int(size[:-1]) * UNITS.get(size[-1], 1)
    return found
