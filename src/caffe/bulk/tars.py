"""Pictures in tar archives, WebDataset's among them, without unpacking these onto a disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from ..errors import CaffeError, ParseError
from ..io.folders import is_picture_name
from .entries import Entry
from .stores import open_store, split_place

PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".tar.gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".tgz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".tar.bz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
}
"""How the names of packed archives end, and by what they are unpacked."""
ENDINGS = (".tar", *PACKED)
_SKIPPED = 1 << 20


def is_tar(place: str) -> bool:
    """Whether a path or an address is a tar archive's."""
    return place.lower().endswith(ENDINGS)


def is_packed(place: str) -> bool:
    """Whether it is an archive of which nothing can be had without all that lies before it."""
    return place.lower().endswith(tuple(PACKED))


class Unpacked:
    """Reads here and there in packed archives; quickly where each place lies behind the last."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._place = ""
        self._stream: Any = None

    def read_range(self, place: str, start: int, length: int) -> bytes:
        """Return a part of what is packed.

        Raises
        ------
        CaffeError
            It cannot be read.
        ParseError
            It is damaged.
        """
        with _damage_told(place):
            if place != self._place:
                self.close()
                self._stream, self._place = self._stack.enter_context(_opened(place)), place
            self._stream.seek(start)
            found: bytes = self._stream.read(length)
            return found

    def close(self) -> None:
        self._stack.close()
        self._place = ""


@contextmanager
def _opened(place: str) -> Iterator[Any]:
    """Open an archive as if it were not packed; who goes back in a packed one begins anew."""
    root, name = split_place(place)
    with open_store(root).open(name) as stream:
        if not is_packed(place):
            yield stream
            return
        unpack = next(PACKED[ending] for ending in PACKED if place.lower().endswith(ending))
        with unpack(stream) as unpacked:
            yield unpacked


@contextmanager
def _damage_told(place: str) -> Iterator[None]:
    try:
        yield
    except CaffeError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise ParseError(f"a damaged archive: {error}", place) from error


def tar_entries(place: str, after: Entry | None) -> Iterator[Entry]:
    """Yield the pictures of an archive, in the order in which they lie there.

    Parameters
    ----------
    place : str
        Its path or address.
    after : Entry, optional
        One of them, to go on behind it.

    Raises
    ------
    ParseError
        It is damaged.
    """
    root, name = split_place(place)
    etag = open_store(root).head(name).etag
    begin = 0 if after is None or after.offset is None else _behind(after.offset, after.size or 0)
    with _damage_told(place), _opened(place) as stream:
        stream.seek(begin)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                # Otherwise it would keep all that it has seen.
                vars(archive)["members"].clear()
                if member.isreg() and _is_wanted(member.name):
                    key = f"{place}#{member.name}"
                    yield Entry(key, member.size, etag, place, member.offset_data)
            end = vars(archive)["offset"]
        # For tarfile whatever is no header is the end, and what stands behind it would be dropped.
        stream.seek(end)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ParseError(
                f"a damaged archive: at byte {end} there is neither a file nor the mark of the "
                "end; was it cut off?",
                place,
            )
        # Behind the last byte of what is packed stands whether all were right.
        while is_packed(place) and stream.read(_SKIPPED):
            pass


def _behind(offset: int, size: int) -> int:
    """Where the next header is."""
    blocks = -(-size // tarfile.BLOCKSIZE)
    return offset + blocks * tarfile.BLOCKSIZE


def _is_wanted(name: str) -> bool:
    return is_picture_name(name) and not posixpath.basename(name).startswith(".")
