"""The list of all pictures, in shards, each of them written once and never changed.

Shards form a chain: what a shard holds begins behind the last picture of the one before, and each
is written only where there is none of its number. So a listing that was broken off goes on where it
was, any number of processes may list at once, a picture that comes while they do is in no two
shards, and work can begin with the first shard.
"""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ..errors import CaffeError, ParseError, require
from .entries import Entry
from .sources import all_entries
from .stores import Store

FOLDER = "_manifest"
_NAME = re.compile(r"shard-(\d{8})\.parquet")
_COLUMNS = ("key", "size", "etag", "container", "offset", "raw")
LAST, SOURCE, FIRST = b"recaffe.last", b"recaffe.source", b"recaffe.first"


@dataclass(frozen=True)
class Shard:
    """Some pictures that are worked on as one.

    Attributes
    ----------
    number : int
        From 0.
    first : int
        The id of its first picture; the others' follow.
    entries : sequence of Entry
        The pictures.
    source : int
        The number of the source that the last of them came from.
    is_last : bool
        Whether no shard follows.
    """

    number: int
    first: int
    entries: Sequence[Entry]
    source: int
    is_last: bool

    @property
    def ids(self) -> range:
        """The ids of its pictures."""
        return range(self.first, self.first + len(self.entries))


def shard_name(number: int) -> str:
    """Return the name that a shard has in its store."""
    return f"{FOLDER}/shard-{number:08}.parquet"


def shard_numbers(store: Store) -> list[int]:
    """Return the numbers of the shards that are there, in order."""
    return numbered(store.names(FOLDER), _NAME)


def numbered(names: Iterator[str], pattern: re.Pattern[str]) -> list[int]:
    """Return the numbers in those of some names that are of a form, in order."""
    return sorted(int(found[1]) for found in map(pattern.fullmatch, names) if found)


def read_shard(store: Store, number: int) -> Shard:
    """Return a shard.

    Raises
    ------
    ParseError
        What is there is none.
    """
    table, first, source, is_last = shard_table(store, number)
    columns = (table.column(name).to_pylist() for name in _COLUMNS)
    entries = [
        Entry(key if raw is None else os.fsdecode(raw), size, etag, container, offset)
        for key, size, etag, container, offset, raw in zip(*columns, strict=True)
    ]
    return Shard(number, first, entries, source, is_last)


def shard_table(
    store: Store, number: int, columns: Sequence[str] = _COLUMNS
) -> tuple[Any, int, int, bool]:
    """Return columns of a shard as Arrow's table, with its `first`, `source` and `is_last`.

    Raises
    ------
    ParseError
        What is there is no shard.
    """
    parquet = require("pyarrow.parquet", "parquet", "a manifest")
    name = shard_name(number)
    content = store.read(name)
    try:
        # Not `read_table`, which loads what is for many files at once.
        table = parquet.ParquetFile(io.BytesIO(content)).read(list(columns), use_threads=False)
        if missing := set(columns) - set(table.column_names):
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        facts = table.schema.metadata
        return table, int(facts[FIRST]), int(facts[SOURCE]), facts[LAST] == b"true"
    # pyarrow's errors are of many kinds.
    except Exception as error:
        raise ParseError(f"no shard of a manifest: {error}", f"{store.place}/{name}") from error


def list_pictures(
    store: Store,
    sources: Sequence[str],
    size: int,
    found: Callable[[int, int], object],
    tell: Callable[[str], object],
) -> None:
    """List pictures into shards, or go on where somebody stopped.

    Parameters
    ----------
    store : Store
        Where the shards are kept.
    sources : sequence of str
        Where the pictures come from.
    size : int
        How many pictures a shard has.
    found : callable
        Given the number and the count of pictures of each shard that is there or is written now, in
        order. It may raise to end the listing.
    tell : callable
        Told, in a sentence, of each folder that cannot be read.

    Raises
    ------
    CaffeError
        A source cannot be read, or there are no pictures at all.
    ParseError
        A shard is missing or damaged.
    """
    numbers = _all_numbers(store)
    last: Shard | None = None
    if numbers:
        # All before the last are full, and need not be read.
        last = read_shard(store, numbers[-1])
        for number in numbers[:-1]:
            found(number, size)
        found(last.number, len(last.entries))
    while last is None or not last.is_last:
        last = _go_on(store, sources, size, last, found, tell)


def _all_numbers(store: Store) -> list[int]:
    for wait in (0.0, 0.2, 1.0):
        # A folder that somebody writes into may be read with a new file and without one before it.
        time.sleep(wait)
        numbers = shard_numbers(store)
        if numbers == list(range(len(numbers))):
            return numbers
    raise ParseError("a shard is missing among others", f"{store.place}/{FOLDER}")


def _go_on(
    store: Store,
    sources: Sequence[str],
    size: int,
    last: Shard | None,
    found: Callable[[int, int], object],
    tell: Callable[[str], object],
) -> Shard:
    """Write shards behind the last one, until all are written or somebody else wrote one."""
    at = 0 if last is None else last.source
    after = last.entries[-1] if last is not None and last.entries else None
    entries = all_entries(sources, tell, at, after)
    ahead = list(islice(entries, size))
    while True:
        now, ahead = ahead, list(islice(entries, size))
        if not now and last is None:
            raise CaffeError(f"no pictures in {', '.join(sources)}")
        shard = Shard(
            0 if last is None else last.number + 1,
            0 if last is None else last.first + len(last.entries),
            [entry for _, entry in now],
            now[-1][0] if now else at,
            not ahead,
        )
        wrote = store.create(shard_name(shard.number), shard_bytes(shard))
        if not wrote:
            # Somebody else's may hold other pictures: where it ends is what counts.
            shard = read_shard(store, shard.number)
        found(shard.number, len(shard.entries))
        if shard.is_last or not wrote:
            return shard
        last = shard


def shard_bytes(shard: Shard) -> bytes:
    """Return a shard as the Parquet file that it is kept in."""
    arrow = require("pyarrow", "parquet", "a manifest")
    parquet = require("pyarrow.parquet", "parquet", "a manifest")
    entries = shard.entries
    keys = [readable_key(entry.key) for entry in entries]
    raws = [
        None if key == entry.key else os.fsencode(entry.key)
        for key, entry in zip(keys, entries, strict=True)
    ]
    containers = arrow.array([entry.container for entry in entries], arrow.string())
    columns: dict[str, Any] = {
        "id": arrow.array(shard.ids, arrow.int64()),
        "key": arrow.array(keys, arrow.string()),
        "size": arrow.array([entry.size for entry in entries], arrow.int64()),
        "etag": arrow.array([entry.etag for entry in entries], arrow.string()),
        "container": containers,
        "offset": arrow.array([entry.offset for entry in entries], arrow.int64()),
        "raw": arrow.array(raws, arrow.binary()),
    }
    facts = {
        FIRST: str(shard.first),
        SOURCE: str(shard.source),
        LAST: json.dumps(shard.is_last),
    }
    stream = io.BytesIO()
    table = arrow.table(columns).replace_schema_metadata(facts)
    parquet.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def readable_key(key: str) -> str:
    """Return a key that tables can hold: odd bytes of a file's name are written out."""
    return key.encode("utf-8", "backslashreplace").decode()
