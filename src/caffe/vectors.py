"""pycaffe's vectors: what its compiled module hands lists over in."""

from __future__ import annotations

from typing import Any

from .memory.blob import Blob


class StringVec(list[str]):
    """Names, of a net's layers and blobs for example."""


class IntVec(list[int]):
    """Numbers, of a net's blobs for example."""


class BoolVec(list[bool]):
    """Which of a layer's bottoms want their gradient."""


class DtypeVec(list[float]):
    """What each of a net's blobs adds to the loss."""


class BlobVec(list[Blob]):
    """A layer's parameters, or a net's blobs."""

    def add_blob(self, *shape: int) -> None:
        """Append a blob of zeros."""
        self.append(Blob(shape))


class RawBlobVec(list[Blob]):
    """A layer's bottoms or tops."""


class LayerVec(list[Any]):
    """A net's layers."""


class NetVec(list[Any]):
    """A solver's nets for testing."""
