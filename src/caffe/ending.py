"""What a process that ends waits for: threads that compute.

A daemon thread that comes back from PyTorch's code while Python is taken down aborts the process.
So whoever computes is waited for when the interpreter ends, and does not go on from there.
"""

from __future__ import annotations

import atexit
import threading
import time

from .processes import in_forked_child

LONGEST = 5.0
"""How many seconds the end waits at most: then it comes as it would have come."""


class Computing:
    """Is entered by each thread that computes; also again by one that does so already."""

    def __init__(self) -> None:
        # Each thread writes its own number alone.
        self._depths: dict[int, int] = {}
        self._ender: int | None = None
        in_forked_child(self._depths.clear)
        atexit.register(self._end)

    def __enter__(self) -> None:
        me = threading.get_ident()
        depth = self._depths[me] = self._depths.get(me, 0) + 1
        if depth == 1 and self._ender is not None:
            self.__exit__()

    def __exit__(self, *error: object) -> None:
        me = threading.get_ident()
        depth = self._depths.pop(me, 1) - 1
        if depth:
            self._depths[me] = depth
        elif self._ender not in (None, me):
            # Until the process is gone, and with it this thread.
            threading.Event().wait()

    def _end(self) -> None:
        self._ender = threading.get_ident()
        until = time.monotonic() + LONGEST
        while self._depths and time.monotonic() < until:
            time.sleep(0.001)


computing = Computing()
