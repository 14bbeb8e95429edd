"""One array kept on the CPU and on the GPU, moved only when the other side is asked for."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..guarded import memory_told
from ..pytorch import torch
from .stores import Store

if TYPE_CHECKING:
    from torch import Tensor


class Watcher(Protocol):
    """Somebody who depends on what a memory holds."""

    def before_change(self, memory: SyncedMemory) -> None:
        """Take what is still needed: the memory is about to hold something else."""
        ...


class Formed:
    """Values as a layer computed them, until somebody asks for a flat float32 array.

    They may lie in another order in memory (channels last), or be short numbers.

    Parameters
    ----------
    values : Tensor
        Of the blob's shape.
    store : Store or None
        Where they are; on the CPU where there is none.

    Attributes
    ----------
    is_shared : bool
        Whether another memory has the same tensor: whoever may write gets a copy.
    """

    def __init__(self, values: Tensor, store: Store | None) -> None:
        self.values = values
        self.store = store
        self.is_shared = False
        self._flat: Tensor | None = None

    def flat(self) -> Tensor:
        """Return them as a flat float32 tensor, in the order of their axes."""
        flat = self._flat
        if flat is None:
            flat = self.values.float().contiguous().view(-1)
            if flat.data_ptr() != self.values.data_ptr():
                return flat
            # Whose values are taken again and again is asked for the same tensor.
            self._flat = flat
        return flat.clone() if self.is_shared else flat

    def lies_in(self, flat: Tensor) -> bool:
        """Whether a flat tensor, which `flat` has returned, is these very values."""
        return flat is self._flat

    def __call__(self) -> Tensor:
        """Return them as a flat float32 tensor on the CPU."""
        values = self.flat()
        return values if self.store is None else self.store.download(values)


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
    As long as a person holds the CPU side as an array (`lend`), its place in memory stays: new
    values are copied into it, so the array always shows the newest forward. Otherwise a layer's
    result simply takes the old one's place. Views keep the array that they view alive, so one
    weak reference tells whether anybody can still read or write.

    Attributes
    ----------
    version : int
        Grows whenever the values may have changed. While `is_lent`, they may change unseen.
    computed : int
        The version that the values had when a layer put them there last.
    """

    def __init__(self, count: int, fill: Callable[[Tensor], None] | None = None) -> None:
        self.count = count
        self.head = Head.UNINITIALIZED
        self._fill = fill
        self._cpu: Tensor | None = None
        self._gpu: Tensor | None = None
        self._store: Store | None = None
        self._compute: Callable[[], Tensor] | None = None
        self._array: weakref.ref[np.ndarray] | None = None
        self._watchers: weakref.WeakSet[Watcher] | None = None
        self._was_sent = self._was_lent = False
        self.version = 0
        self.computed = 0

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: the values, but nobody's array of them, and nobody who watches."""
        is_untouched = self.head is Head.UNINITIALIZED and not (self._fill or self._compute)
        return {"count": self.count, "values": None if is_untouched else self.cpu().clone()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SyncedMemory.__init__(self, state["count"])
        if state["values"] is not None:
            self._cpu, self.head = state["values"], Head.AT_CPU

    def cpu(self) -> Tensor:
        """Return the newest values on the CPU, to be read."""
        while self.head is Head.UNINITIALIZED:
            self._begin()
        if self.head is Head.AT_GPU:
            assert self._gpu is not None
            assert self._store is not None
            with memory_told():
                values = self._store.download(self._gpu)
            self._place(values)
            self.head, self._was_lent = Head.SYNCED, self.is_lent
        assert self._cpu is not None
        return self._cpu

    def _begin(self) -> None:
        """Make the first values. Another thread that looks meanwhile makes its own, or finds these.

        Until they are there, what makes them must not be gone. It may make others meanwhile.
        """
        compute, fill, version = self._compute, self._fill, self.version
        with memory_told():
            values = torch.zeros(self.count, dtype=torch.float32) if compute is None else compute()
            if fill is not None:
                fill(values)
        is_newest = self._compute is compute and self.version == version
        if self.head is Head.UNINITIALIZED and is_newest:
            self._cpu = values
            self.head = Head.AT_CPU
            self._compute = self._fill = None

    def mutable_cpu(self) -> Tensor:
        """Return the newest values on the CPU, to be written: the GPU side is then stale."""
        self.about_to_change()
        values = self.cpu()
        self.head = Head.AT_CPU
        return values

    def mutable(self, store: Store | None) -> Tensor:
        """Return the newest values in `store`, or on the CPU, to be written there."""
        if store is None:
            return self.mutable_cpu()
        self.about_to_change()
        values = self.gpu(store)
        self.head = Head.AT_GPU
        return values

    def lend(self) -> np.ndarray:
        """Return the newest values as an array that somebody may keep, and write into."""
        values = self.mutable_cpu()
        array = None if self._array is None else self._array()
        if array is None:
            array = values.numpy()
            self._array = weakref.ref(array)
        return array

    @property
    def is_lent(self) -> bool:
        """Whether somebody still holds an array of `lend`, or a view of it."""
        return self._array is not None and self._array() is not None

    def gpu(self, store: Store) -> Tensor:
        """Return the newest values in `store`, to be read."""
        if self.head is Head.AT_GPU and self._store is store and self._gpu is not None:
            return self._gpu
        if self.head is Head.SYNCED and (self.is_lent or self._was_lent):
            # Whoever holds the array, or has held it, may have written into it since.
            self.head = Head.AT_CPU
        if self._store != store and self.head in (Head.AT_GPU, Head.SYNCED):
            self.cpu()
            self.head = Head.AT_CPU
        formed = self.formed
        if formed is not None and formed.store == store:
            with memory_told():
                self._gpu = formed.flat()
            self._store, self._compute, self.head = store, None, Head.AT_GPU
        if self.is_clear:
            with memory_told():
                self._gpu = torch.zeros(self.count, dtype=torch.float32, device=store.device)
            self._store, self.head = store, Head.AT_GPU
        if self.head in (Head.UNINITIALIZED, Head.AT_CPU):
            values = self.cpu()
            with memory_told():
                if self._was_sent and not self.is_lent:
                    # It will be again: an input, which is written anew for each forward.
                    values = self._cpu = store.to_send(values)
                self._gpu = store.upload(values)
            self._store, self._was_sent, self._was_lent = store, True, self.is_lent
            self.head = Head.SYNCED
        assert self._gpu is not None
        return self._gpu

    def read(self, store: Store | None) -> Tensor:
        """Return the newest values in `store`, or on the CPU where it is None."""
        return self.cpu() if store is None else self.gpu(store)

    def put(self, values: Tensor, store: Store | None) -> None:
        """Take `values`, a flat tensor in `store` (None: on the CPU), as the newest ones.

        The tensor becomes this memory's own unless the CPU side is lent.
        """
        self.about_to_change()
        self._fill = self._compute = None
        if store is None:
            self._place(values)
            self.head = Head.AT_CPU
        else:
            self._gpu = values
            self._store = store
            self.head = Head.AT_GPU
        if not self.is_lent:
            self.count = values.numel()

    def put_formed(self, values: Tensor, store: Store | None) -> None:
        """Take `values`, of any order in memory and any floating type, as the newest ones.

        They are brought into Caffe's own form when somebody asks for it.
        """
        if self.is_lent:
            self.put(Formed(values, store).flat(), store)
            return
        self.about_to_change()
        self.count = values.numel()
        self.head = Head.UNINITIALIZED
        self._cpu = self._gpu = self._fill = None
        self._compute = Formed(values, store)

    @property
    def formed(self) -> Formed | None:
        """The newest values as they were computed, while nobody has asked for a flat array."""
        return self._compute if isinstance(self._compute, Formed) else None

    def hold(self, other: SyncedMemory, store: Store) -> None:
        """Take what another memory holds in `store` as what a layer has put here, uncopied."""
        formed, compute = other.formed, other.computation
        if formed is not None and formed is self._compute and not self.is_lent:
            self.about_to_change()
        elif formed is not None and self.is_lent:
            self.put(formed.flat(), store)
        elif formed is not None:
            self.put_formed(formed.values, store)
            # What is known of who else has these values.
            self._compute = formed
        elif compute is None:
            self.put(other.gpu(store), store)
        elif self.is_lent:
            self.put(compute(), None)
        else:
            self.defer(other.count, compute)
        self.note_computed()

    def stay_in(self, place: Tensor, store: Store) -> None:
        """Let the newest values in `store` lie in `place`, where they lay once."""
        if self._gpu is place and self.head is Head.AT_GPU:
            return
        values = self.gpu(store)
        if values is not place:
            place.copy_(values)
            self._gpu = place

    def defer(self, count: int, compute: Callable[[], Tensor]) -> None:
        """Take what `compute` will return as the newest values, once somebody asks for them.

        Not while the memory is lent: the array would show old values.
        """
        self.version += 1
        self.count = count
        self.head = Head.UNINITIALIZED
        self._cpu = self._gpu = self._fill = None
        self._compute = compute

    def clear(self) -> None:
        """Take zeros as the newest values, which are made once somebody asks for them."""
        if self.is_clear:
            return
        if self.is_lent:
            self.put(torch.zeros(self.count, dtype=torch.float32), None)
            return
        self.about_to_change()
        self.head = Head.UNINITIALIZED
        self._cpu = self._gpu = self._fill = self._compute = None

    @property
    def is_clear(self) -> bool:
        """Whether the values are zeros that nobody has asked for yet."""
        is_untouched = self.head is Head.UNINITIALIZED
        return is_untouched and self._compute is None and self._fill is None

    def note_computed(self) -> None:
        """Note that a layer has put the values there."""
        self.computed = self.version

    @property
    def is_as_computed(self) -> bool:
        """Whether the values are those that a layer put there last, and nobody holds them."""
        return self.version == self.computed and not self.is_clear and not self.is_lent

    @property
    def computation(self) -> Callable[[], Tensor] | None:
        """What computes the newest values, while nobody has asked for them."""
        return self._compute

    @property
    def is_deferred(self) -> bool:
        """Whether the newest values are yet to be computed."""
        return self._compute is not None

    def about_to_change(self) -> None:
        """Note that the values will be others; who still needs these takes them now."""
        self.version += 1
        if self._watchers is not None:
            for watcher in list(self._watchers):
                watcher.before_change(self)

    def watch(self, watcher: Watcher) -> None:
        """Let `watcher` know of each coming change, as long as somebody else keeps it alive."""
        if self._watchers is None:
            self._watchers = weakref.WeakSet()
        self._watchers.add(watcher)

    def _place(self, values: Tensor) -> None:
        if self.is_lent and self._cpu is not None:
            self._cpu[: values.numel()].copy_(values)
        else:
            self._cpu = values
