"""The rows of a shard: one Parquet file, there whole or not at all."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from ..errors import CaffeError, ParseError, require
from .entries import Entry
from .manifest import Shard, numbered, readable_key
from .stores import Store
from .tasks import OpenTask

_NAME = re.compile(r"part-(\d{8})\.parquet")
EXTRA = "parquet"
ERRORS = b"recaffe.errors"
ROWS_AT_ONCE = 1024


class Count(NamedTuple):
    """How many pictures, and how many of them could not be read."""

    pictures: int
    errors: int

    def __add__(self, other: object) -> Count:
        if not isinstance(other, Count):
            return NotImplemented
        return Count(self.pictures + other.pictures, self.errors + other.errors)


NOTHING = Count(0, 0)


def part_name(number: int) -> str:
    """Return the name that a shard's rows have in their store."""
    return f"part-{number:08}.parquet"


def part_numbers(store: Store) -> set[int]:
    """Return the numbers of the shards whose rows are there."""
    return set(numbered(store.names(""), _NAME))


def part_bytes(shard: Shard, rows: Sequence[Any], task: OpenTask) -> tuple[bytes, Count]:
    """Return a shard's rows as a Parquet file, and how many they are.

    Parameters
    ----------
    shard : Shard
        Its pictures.
    rows : sequence
        For each what the task made of it, or the `CaffeError` why it could not be read.
    task : OpenTask
        Knows the columns.
    """
    count = Count(len(rows), sum(isinstance(row, CaffeError) for row in rows))
    # In pieces, since a blob's values for thousands of pictures may be large.
    pieces = (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(rows), ROWS_AT_ONCE))
    tables = (
        rows_table(shard.ids[some], shard.entries[some], rows[some], task)
        for some in (pieces if rows else [slice(0, 0)])
    )
    return _written(tables, {**task.metadata, ERRORS.decode(): str(count.errors)}), count


def rows_table(
    ids: Sequence[int], entries: Sequence[Entry], rows: Sequence[Any], task: OpenTask
) -> Any:
    """Return pictures' rows as an Arrow table; see `part_bytes`."""
    arrow = require("pyarrow", EXTRA, "a Parquet file")
    reasons = [
        reason_of(row, entry.key) if isinstance(row, CaffeError) else None
        for row, entry in zip(rows, entries, strict=True)
    ]
    held = [None if isinstance(row, CaffeError) else row for row in rows]
    return arrow.table(
        {
            "id": arrow.array(ids, arrow.int64()),
            "key": arrow.array([readable_key(e.key) for e in entries], arrow.string()),
            **task.columns(held),
            "error": arrow.array(reasons, arrow.string()),
        }
    )


def mended(part: Any, table: Any) -> tuple[bytes, Count]:
    """Return a part with other rows for some of its pictures, as a Parquet file.

    Parameters
    ----------
    part, table : pyarrow.Table
        The part as it was, and the new rows.
    """
    arrow = require("pyarrow", EXTRA, "a Parquet file")
    compute = require("pyarrow.compute", EXTRA, "a Parquet file")
    others = part.filter(compute.invert(compute.is_in(part["id"], table["id"].combine_chunks())))
    whole = arrow.concat_tables([others, table.cast(part.schema)]).sort_by("id")
    count = Count(len(whole), len(whole) - whole["error"].null_count)
    facts = {**part.schema.metadata, ERRORS: str(count.errors)}
    return _written([whole], facts), count


def _written(tables: Iterable[Any], facts: Mapping[Any, str]) -> bytes:
    parquet = require("pyarrow.parquet", EXTRA, "a Parquet file")
    stream = io.BytesIO()
    with ExitStack() as stack:
        writer: Any = None
        for table in tables:
            table = table.replace_schema_metadata(facts)
            if writer is None:
                made = parquet.ParquetWriter(stream, table.schema, compression="zstd")
                writer = stack.enter_context(made)
            writer.write_table(table)
    return stream.getvalue()


def reason_of(error: CaffeError, key: str) -> str:
    """Return why a picture could not be read, in a line and without its name."""
    return readable_key(" ".join(str(error).split())).removeprefix(f"{readable_key(key)}: ")


def read_part(store: Store, number: int, columns: Sequence[str] | None = None) -> Any:
    """Return a shard's rows as an Arrow table.

    Raises
    ------
    ParseError
        What is there is no Parquet file.
    """
    parquet = require("pyarrow.parquet", EXTRA, "a Parquet file")
    name = part_name(number)
    content = store.read(name)
    try:
        return parquet.ParquetFile(io.BytesIO(content)).read(columns, use_threads=False)
    # pyarrow's errors are of many kinds.
    except Exception as error:
        raise _damaged(store, name, error) from error


def _damaged(store: Store, name: str, error: Exception) -> ParseError:
    return ParseError(
        f"no rows of pictures: {error}; without this file the same command makes it anew",
        f"{store.place}/{name}",
    )


def count_part(store: Store, number: int) -> Count:
    """Return how many rows a shard's file has, and how many errors; only its end is read.

    Raises
    ------
    ParseError
        What is there is no Parquet file.
    """
    parquet = require("pyarrow.parquet", EXTRA, "a Parquet file")
    name = part_name(number)
    with store.open(name) as stream:
        try:
            file = parquet.ParquetFile(stream)
            return Count(file.metadata.num_rows, int(file.schema_arrow.metadata[ERRORS]))
        except Exception as error:
            raise _damaged(store, name, error) from error
