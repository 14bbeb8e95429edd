"""A second store in CPU memory, in the GPU's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

from caffe import mode
from caffe.memory.stores import Recording, Store, seconds_by_clock, trying


class CountingStore:
    """A second store in CPU memory that counts what is moved."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.uploads = 0
        self.downloads = 0
        self.replays = 0
        self.given_back = 0
        self._places: set[int] = set()

    def upload(self, array: torch.Tensor) -> torch.Tensor:
        self.uploads += 1
        return array.clone()

    def to_send(self, array: torch.Tensor) -> torch.Tensor:
        if array.data_ptr() in self._places:
            return array
        moved = array.clone()
        self._places.add(moved.data_ptr())
        return moved

    def send(self, values: NDArray[np.uint8]) -> torch.Tensor:
        return self.upload(torch.from_numpy(values.copy()))

    def download(self, array: torch.Tensor) -> torch.Tensor:
        self.downloads += 1
        return array.clone()

    def fetch(self, array: torch.Tensor) -> Callable[[], torch.Tensor]:
        return lambda: self.download(array)

    def wait(self) -> None:
        """Nothing is under way."""

    def seconds(self, function: Callable[[], object], times: int) -> float:
        return seconds_by_clock(self, function, times)

    def give_back(self) -> None:
        self.given_back += 1

    def record(
        self, function: Callable[[], Sequence[torch.Tensor]], tries: bool = True
    ) -> Recording:
        with trying() if tries else nullcontext():
            results = function()

        def replay() -> None:
            self.replays += 1
            for result, again in zip(results, function(), strict=True):
                result.copy_(again)

        return Recording(results, replay)

    def has_room(self, count: int) -> bool:
        return True

    @property
    def moved(self) -> tuple[int, int]:
        return self.uploads, self.downloads


def use_store(store: Store) -> None:
    """Run this thread's nets as in GPU mode, with `store` in the GPU's place."""
    mode._state.store = store
