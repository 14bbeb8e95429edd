"""What nets made of the last pictures: kept in memory, within bounds, for a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..pytorch import torch

Tops: TypeAlias = "Mapping[str, torch.Tensor]"
Key = tuple[object, ...]


@dataclass
class _Kept:
    """A picture's results, and when they were last looked at."""

    tops: Tops
    size: int
    since: float


class Kept:
    """The results of the last pictures, the ones that were not looked at the longest going first.

    Parameters
    ----------
    most_bytes : int
        The most of all of them together; a picture whose results are larger is not kept.
    seconds : float
        After so long without a look they are forgotten.
    """

    def __init__(
        self, most_bytes: int, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most_bytes
        self.seconds = seconds
        self._now = now
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        with self._lock:
            return sum(one.size for one in self._kept.values())

    def get(self, key: Key) -> Tops | None:
        """What is kept of a picture."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            found.since = self._now()
            self._kept.move_to_end(key)
            return found.tops

    def put(self, key: Key, tops: Tops) -> None:
        """Keep what a net made of a picture, as long as there is room."""
        # Layers that only rename hand on the same memory.
        memory = {top.untyped_storage().data_ptr(): top.untyped_storage() for top in tops.values()}
        size = sum(storage.nbytes() for storage in memory.values())
        with self._lock:
            self._kept.pop(key, None)
            if size > self._most:
                return
            self._kept[key] = _Kept(tops, size, self._now())
            while sum(one.size for one in self._kept.values()) > self._most:
                self._kept.popitem(last=False)

    def forget_old(self) -> None:
        """Drop what nobody has looked at for a while."""
        with self._lock:
            before = self._now() - self.seconds
            for key in [key for key, one in self._kept.items() if one.since < before]:
                del self._kept[key]
