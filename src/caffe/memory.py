"""One array kept on the CPU and on the GPU, moved only when the other side is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor


class Store(Protocol):
    """A second place for arrays, beside the CPU."""

    @property
    def device(self) -> torch.device:
        """Where the store's tensors live, as PyTorch names it."""
        ...

    def upload(self, array: Tensor) -> Tensor:
        """Copy a CPU tensor into this store."""
        ...

    def download(self, array: Tensor) -> Tensor:
        """Copy a tensor of this store into a new CPU tensor."""
        ...


@dataclass(frozen=True)
class DeviceStore:
    """The memory of one accelerator."""

    device: torch.device

    def upload(self, array: Tensor) -> Tensor:
        return array.to(self.device, copy=True)

    def download(self, array: Tensor) -> Tensor:
        return array.to("cpu", copy=True)


class Head(Enum):
    """Which side holds the newest values."""

    UNINITIALIZED = "uninitialized"
    AT_CPU = "at CPU"
    AT_GPU = "at GPU"
    SYNCED = "synced"


class SyncedMemory:
    """A flat float32 array with a CPU and a GPU side (Caffe's SyncedMemory).

    Parameters
    ----------
    count : int
        How many numbers it holds.
    fill : callable, optional
        Writes the first values into the CPU tensor it is given, when somebody first asks for
        them; without it they are zeros. Weights that are loaded before anybody looks never
        pay for their filler.

    Notes
    -----
    Once a person has been handed the CPU side as an array (`lend`), its place in memory stays:
    new values are copied into it, so the array always shows the newest forward. Until then a
    layer's result simply takes the old one's place.
    """

    def __init__(self, count: int, fill: Callable[[Tensor], None] | None = None) -> None:
        self.count = count
        self.head = Head.UNINITIALIZED
        self._fill = fill
        self._cpu: Tensor | None = None
        self._gpu: Tensor | None = None
        self._store: Store | None = None
        self._lent = False

    def cpu(self) -> Tensor:
        """Return the newest values on the CPU, to be read."""
        if self.head is Head.UNINITIALIZED:
            self._cpu = torch.zeros(self.count)
            fill, self._fill = self._fill, None
            if fill is not None:
                fill(self._cpu)
            self.head = Head.AT_CPU
        elif self.head is Head.AT_GPU:
            assert self._gpu is not None
            assert self._store is not None
            values = self._store.download(self._gpu)
            self._place(values)
            self.head = Head.SYNCED
        assert self._cpu is not None
        return self._cpu

    def mutable_cpu(self) -> Tensor:
        """Return the newest values on the CPU, to be written: the GPU side is then stale."""
        values = self.cpu()
        self.head = Head.AT_CPU
        return values

    def lend(self) -> Tensor:
        """Like `mutable_cpu`, for an array that somebody will keep."""
        self._lent = True
        return self.mutable_cpu()

    def gpu(self, store: Store) -> Tensor:
        """Return the newest values in `store`, to be read."""
        if self._store != store and self.head in (Head.AT_GPU, Head.SYNCED):
            self.cpu()
            self.head = Head.AT_CPU
        if self.head in (Head.UNINITIALIZED, Head.AT_CPU):
            self._gpu = store.upload(self.cpu())
            self._store = store
            self.head = Head.SYNCED
        assert self._gpu is not None
        return self._gpu

    def mutable_gpu(self, store: Store) -> Tensor:
        """Return the newest values in `store`, to be written: the CPU side is then stale."""
        values = self.gpu(store)
        self.head = Head.AT_GPU
        return values

    def read(self, store: Store | None) -> Tensor:
        """Return the newest values in `store`, or on the CPU where it is None."""
        return self.cpu() if store is None else self.gpu(store)

    def put(self, values: Tensor, store: Store | None) -> None:
        """Take `values`, a flat tensor in `store` (None: on the CPU), as the newest ones.

        The tensor becomes this memory's own unless the CPU side has been lent.
        """
        self._fill = None
        if store is None:
            self._place(values)
            self.head = Head.AT_CPU
        else:
            self._gpu = values
            self._store = store
            self.head = Head.AT_GPU
        if not self._lent:
            self.count = values.numel()

    def _place(self, values: Tensor) -> None:
        if not self._lent:
            self._cpu = values
            return
        if self._cpu is None:
            self._cpu = torch.zeros(self.count)
        self._cpu[: values.numel()].copy_(values)
