"""How a process that works on shards stays small, so that a machine has room for many."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from functools import lru_cache
from importlib.machinery import ModuleSpec
from typing import Any

from ..errors import require

_ARENAS = -8
"""What glibc's `mallopt` calls the number of heaps that threads share (M_ARENA_MAX)."""

SELDOM = 10.0
"""Seconds between two times that memory is given back."""


def keep_small() -> None:
    """Take less memory from now on. Only for a process that does nothing but a run.

    Arrow keeps what it has freed, and loads pandas, where that is installed, to see whether a list
    is one of its series: 40 MB and half a second. glibc keeps a heap for each thread.
    """
    arrow = require("pyarrow", "parquet", "a Parquet file")
    arrow.set_memory_pool(arrow.system_memory_pool())
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)
        try:
            # It looks for pandas once, at the first list.
            arrow.array([])
        finally:
            sys.meta_path.remove(_NoPandas)
    if (glibc := _glibc()) is not None:
        glibc.mallopt(_ARENAS, 2)


def give_back() -> None:
    """Give the system back what is free, which glibc does by itself at a heap's end alone.

    To have it again costs time, so that it is done every few seconds at most.
    """
    now = time.monotonic()
    if now - _Settings.given_back > SELDOM and (glibc := _glibc()) is not None:
        _Settings.given_back = now
        glibc.malloc_trim(0)


class _Settings:
    given_back = -math.inf
    """When that was done last."""


class _NoPandas:
    """Says that there is no pandas, where modules are looked for."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)
        return None


@lru_cache(maxsize=1)
def _glibc() -> Any:
    """The C library, where it is glibc."""
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "malloc_trim") else None
