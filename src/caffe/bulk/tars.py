"""Pictures in tar archives, WebDataset's among them, without unpacking these."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator

from ..errors import CaffeError, ParseError
from ..io.folders import is_picture_name
from .entries import Entry
from .stores import open_store, split_place


def is_tar(place: str) -> bool:
    """Whether a path or an address is a tar archive's."""
    return place.lower().endswith((".tar", ".tar.gz", ".tgz"))


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
    CaffeError
        It is packed, so that nothing in it can be reached without all that lies before it.
    ParseError
        It is damaged.
    """
    if not place.lower().endswith(".tar"):
        raise CaffeError(f"{place}: a packed archive cannot be read here and there; unpack it")
    root, name = split_place(place)
    store = open_store(root)
    etag = store.head(name).etag
    begin = 0 if after is None or after.offset is None else _behind(after.offset, after.size or 0)
    with store.open(name) as stream:
        stream.seek(begin)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    # Otherwise it would keep all that it has seen.
                    vars(archive)["members"].clear()
                    if member.isreg() and _is_wanted(member.name):
                        key = f"{place}#{member.name}"
                        yield Entry(key, member.size, etag, place, member.offset_data)
                end = vars(archive)["offset"]
        except tarfile.TarError as error:
            raise ParseError(f"a damaged archive: {error}", place) from error
        # For tarfile whatever is no header is the end, and what stands behind it would be dropped.
        stream.seek(end)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ParseError(
                f"a damaged archive: at byte {end} there is neither a file nor the mark of the "
                "end; was it cut off?",
                place,
            )


def _behind(offset: int, size: int) -> int:
    """Where the next header is."""
    blocks = -(-size // tarfile.BLOCKSIZE)
    return offset + blocks * tarfile.BLOCKSIZE


def _is_wanted(name: str) -> bool:
    return is_picture_name(name) and not posixpath.basename(name).startswith(".")
