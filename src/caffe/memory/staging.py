"""Memory of the CPU's that a GPU reads by itself (pinned), kept for bytes on their way there."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

LEAST, MOST = 2**16, 2**27
"""How many bytes a piece of it has at least, and how many are kept for a GPU at most."""


class Piece:
    """Some of the memory, and whether the GPU has read what it held last.

    Parameters
    ----------
    size : int
        How many bytes.
    device : torch.device
        The GPU.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.memory = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        self._device = device
        self._read = torch.cuda.Event()

    def note(self) -> None:
        """Note that the GPU has been told to read it."""
        self._read.record(torch.cuda.current_stream(self._device))

    @property
    def is_read(self) -> bool:
        """Whether it has done so."""
        return bool(self._read.query())

    def wait(self) -> None:
        """Wait until it has."""
        self._read.synchronize()


class Staging:
    """Sends bytes to a GPU while threads go on; they may do so at once.

    To get such memory from the system takes longer than to send a picture.

    Parameters
    ----------
    device : torch.device
        The GPU.
    make : callable
        Makes a piece of so many bytes for it.
    """

    def __init__(
        self, device: torch.device, make: Callable[[int, torch.device], Piece] = Piece
    ) -> None:
        self._device, self._make = device, make
        self._lock = threading.Lock()
        self._idle: list[Piece] = []

    def send(self, values: NDArray[np.uint8]) -> Tensor:
        """Copy bytes, which may change as soon as this returns, to the GPU."""
        piece = self._take(values.nbytes)
        try:
            staged = piece.memory[: values.nbytes].view(values.shape)
            np.copyto(staged.numpy(), values)
            sent = staged.to(self._device, non_blocking=True, copy=True)
            piece.note()
            return sent
        finally:
            self._put_back(piece)

    def _take(self, count: int) -> Piece:
        """Return a piece of so many bytes that nobody uses and the GPU has read."""
        size = 1 << (max(count, LEAST) - 1).bit_length()
        with self._lock:
            large = [piece for piece in self._idle if piece.memory.numel() >= count]
            read = next((piece for piece in large if piece.is_read), None)
            if read is None and large and self._kept + size > MOST:
                read = large[0]
            if read is not None:
                self._idle.remove(read)
        if read is None:
            return self._make(size, self._device)
        read.wait()
        return read

    def _put_back(self, piece: Piece) -> None:
        with self._lock:
            self._idle.append(piece)
            # What has waited longest goes: it may be too small for what there is now.
            while self._kept > MOST:
                self._idle.pop(0)

    @property
    def _kept(self) -> int:
        return sum(piece.memory.numel() for piece in self._idle)


@functools.cache
def staging(device: torch.device) -> Staging:
    """Return what sends bytes to a GPU: one for all threads."""
    return Staging(device)
