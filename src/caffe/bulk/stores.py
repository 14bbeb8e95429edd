"""Where things are kept by names: a folder on a disk, or a prefix of an object storage."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import IO, NamedTuple, Protocol

from ..errors import FetchError
from ..io.given import is_address


class SilentStoreError(FetchError):
    """A storage does not answer, for all tries; whatever else is asked of it would wait as long."""


class Stored(NamedTuple):
    """A thing that is kept: its name, its bytes, and what changes when it does."""

    name: str
    size: int
    etag: str | None


class Store(Protocol):
    """Where things are kept by names, which have slashes between their parts.

    All of its methods raise `MissingFileError` where there is no such thing, and `FetchError` or
    `WriteError` where it cannot be reached, after bounded tries.
    """

    place: str
    """Its folder or address."""

    def read(self, name: str) -> bytes:
        """Return all of a thing."""

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return a part of a thing."""

    def open(self, name: str) -> IO[bytes]:
        """Open a thing for reading here and there."""

    def head(self, name: str) -> Stored:
        """Say what is kept under a name."""

    def create(self, name: str, content: bytes) -> bool:
        """Keep a thing, unless there is one of that name; say whether it was kept."""

    def replace(self, name: str, content: bytes | IO[bytes]) -> None:
        """Keep a thing in place of what has its name; whole at any moment.

        Of a file what lies behind its place is kept.
        """

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of what is kept directly in a folder ("" for the store's own)."""


def is_cloud(place: str) -> bool:
    """Whether this is an address in an object storage, and no path and no web address."""
    return is_address(place) and not place.lower().startswith(("http://", "https://"))


@lru_cache(maxsize=32)
def open_store(place: str) -> Store:
    """Return the store at a folder's path or at an address such as ``s3://bucket/prefix``.

    Raises
    ------
    MissingExtraError
        obstore is not installed (the extra 'cloud'), and it is an address.
    CaffeError
        There is no such kind of address.
    """
    if is_cloud(place):
        from .cloud_store import CloudStore

        return CloudStore(place)
    from .disk_store import DiskStore

    return DiskStore(place)


def split_place(place: str) -> tuple[str, str]:
    """Divide a thing's path or address into its store's place and its name there.

    Examples
    --------
    >>> split_place("s3://bucket/photos/a.jpg")
    ('s3://bucket', 'photos/a.jpg')
    >>> split_place("/photos/a.jpg")
    ('/photos', 'a.jpg')
    """
    if is_cloud(place):
        scheme, _, rest = place.partition("://")
        bucket, _, name = rest.partition("/")
        return f"{scheme}://{bucket}", name
    from os.path import split

    return split(place)
