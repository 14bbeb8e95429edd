"""Pictures in Parquet files: their bytes, or where they are."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import CaffeError, ParseError, require
from ..io.given import is_address
from .entries import Entry
from .stores import open_store, split_place

BYTES, PATH = "bytes", "path"
CONTENTS = ("image", "bytes", "content", "jpg", "jpeg", "png", "img")
"""What columns of pictures are called."""
KEYS = ("key", "path", "url", "file_name", "filename", "file", "name", "__key__", "id")
"""What columns of their names are called."""
_READ_AT_ONCE = 4096


def is_table(place: str) -> bool:
    """Whether a path or an address is a Parquet file's."""
    return place.lower().endswith((".parquet", ".pq"))


class Columns(NamedTuple):
    """Which of a table's columns are pictures, and which their names."""

    content: str | None
    key: str | None


def table_entries(place: str, after: Entry | None) -> Iterator[Entry]:
    """Yield a table's pictures.

    A table has them itself in a column of bytes (or of bytes and path, as data sets on Hugging
    Face have), or else where they are: addresses, or paths from the table's own folder.

    Parameters
    ----------
    place : str
        Its path or address.
    after : Entry, optional
        One of them, to go on behind it.

    Raises
    ------
    CaffeError
        No column has pictures or names.
    ParseError
        It is no Parquet file.
    """
    file = open_table(place)
    columns = _columns_of(file, place)
    if columns.content is None:
        yield from _named(file, place, str(columns.key), after)
        return
    root, name = split_place(place)
    etag = open_store(root).head(name).etag
    first = 0 if after is None or after.offset is None else after.offset + 1
    number = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if number + rows <= first:
            number += rows
            continue
        for own in _names(file, group, columns.key, rows):
            if number >= first:
                key = f"{place}#{number if own is None else own}"
                yield Entry(key, None, etag, place, number)
            number += 1


def read_rows(place: str, rows: list[int]) -> list[bytes | None]:
    """Return the pictures of some rows, which lie in one group; None where there is none.

    Raises
    ------
    CaffeError
        The table cannot be read any more.
    """
    file = open_table(place)
    group, start = group_of(place, rows[0])
    content = str(_columns_of(file, place).content)
    try:
        column = file.read_row_group(group, [content], use_threads=False).column(content)
        # One by one: Arrow's `take` is among a thousand functions that would have to be loaded.
        values = [column[row - start].as_py() for row in rows]
        return [v and v[BYTES] for v in values] if _is_struct(column.type) else values
    except CaffeError:
        raise
    # pyarrow's errors are of many kinds.
    except Exception as error:
        raise ParseError(f"the table cannot be read: {error}", place) from error


def group_of(place: str, row: int) -> tuple[int, int]:
    """Return which of a table's groups a row lies in, and that group's first row."""
    metadata = open_table(place).metadata
    start = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if row < start + rows:
            return group, start
        start += rows
    raise ParseError(f"has no row {row} any more", place)


@lru_cache(maxsize=8)
def open_table(place: str) -> Any:
    """Return a Parquet file, of which only the end has been read.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    ParseError
        It is no Parquet file.
    """
    parquet = require("pyarrow.parquet", "parquet", "a Parquet file")
    root, name = split_place(place)
    stream = open_store(root).open(name)
    try:
        table = parquet.ParquetFile(stream)
    # pyarrow's errors are of many kinds.
    except Exception as error:
        stream.close()
        raise ParseError(f"no Parquet file: {error}", place) from error
    # Somebody may still read from one that falls out of the cache.
    weakref.finalize(table, stream.close)
    return table


def _columns_of(file: Any, place: str) -> Columns:
    schema = file.schema_arrow
    names = {name.lower(): name for name in reversed(schema.names)}
    contents = [names[n] for n in CONTENTS if n in names and _holds_bytes(schema, names[n])]
    keys = [names[n] for n in KEYS if n in names and _is_text(schema.field(names[n]).type)]
    if not contents and not keys:
        raise CaffeError(
            f"{place}: has no column of pictures (bytes called {', '.join(CONTENTS)}) and none of "
            f"their places (text called {', '.join(KEYS)}); it has {', '.join(schema.names)}"
        )
    return Columns(contents[0] if contents else None, keys[0] if keys else None)


def _holds_bytes(schema: Any, name: str) -> bool:
    kind = schema.field(name).type
    if _is_struct(kind):
        return bool(kind.get_field_index(BYTES) >= 0)
    return str(kind) in ("binary", "large_binary")


def _is_struct(kind: Any) -> bool:
    return str(kind).startswith("struct")


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string") or str(kind).startswith("dictionary")


def _names(file: Any, group: int, column: str | None, rows: int) -> Iterator[str | None]:
    if column is None:
        yield from (None for _ in range(rows))
        return
    batches = file.iter_batches(
        _READ_AT_ONCE, row_groups=[group], columns=[column], use_threads=False
    )
    for batch in batches:
        yield from batch.column(0).to_pylist()


def _named(file: Any, place: str, column: str, after: Entry | None) -> Iterator[Entry]:
    """Pictures that lie elsewhere; `offset` is their row all the same, to be found again by."""
    first = 0 if after is None or after.offset is None else after.offset + 1
    number = 0
    for batch in file.iter_batches(_READ_AT_ONCE, columns=[column], use_threads=False):
        if number + len(batch) <= first:
            number += len(batch)
            continue
        for name in batch.column(0).to_pylist():
            if number >= first:
                yield Entry(_beside(place, name), None, None, place, number)
            number += 1


def _beside(place: str, name: str | None) -> str:
    """A picture's place, as a table says it."""
    if not name or is_address(name) or os.path.isabs(name):
        return name or ""
    if is_address(place):
        return f"{place.rpartition('/')[0]}/{name}"
    return os.path.join(os.path.dirname(place), name)
