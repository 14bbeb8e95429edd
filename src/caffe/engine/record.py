"""What was recorded of a forward, and whether its values are still those."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..layers.gradients import edges_of
from ..memory.blob import Blob
from ..memory.stores import Store
from ..memory.synced import SyncedMemory
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .steps import Step


class Record:
    """A forward that autograd remembers, so that its gradient needs no second one.

    Parameters
    ----------
    leaves, results : sequence of Tensor
        As `Layer.record` returns them.
    store : Store or None
        Where it was computed.
    """

    def __init__(self, leaves: Sequence[Tensor], results: Sequence[Tensor], store: Store | None):
        self.leaves, self.edges = leaves, edges_of(results)
        self.dtype = next((x.dtype for x in leaves), torch.float32)
        self._store = store
        self._read: list[tuple[Blob, SyncedMemory, int]] = []
        self._tops: list[Blob] = []

    def note(self, *steps: Step) -> None:
        """Note which values the steps have read, now that they have run."""
        self._tops = [top for step in steps for top in step.tops]
        written = {id(top) for top in self._tops}
        for step in steps:
            bottoms = [blob for blob in step.bottoms if id(blob) not in written]
            for blob in (*bottoms, *step.layer.blobs):
                self._read.append((blob, blob.memory, blob.memory.version))

    def holds(self, store: Store | None) -> bool:
        """Tell whether nobody may have written into what the steps read and made.

        Layers that run in place on their tops may: as in Caffe the gradient does not ask for that.
        """
        if self._store != store or any(blob.memory is not memory for blob, memory, _ in self._read):
            return False
        tops = [(top.memory, top.memory.computed) for top in self._tops]
        read = [(memory, version) for _, memory, version in self._read]
        return all(m.version == version and not m.is_lent for m, version in (*read, *tops))
