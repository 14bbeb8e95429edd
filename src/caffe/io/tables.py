"""Results as tables and JSON: written as they come, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from ..atomic import atomic_write
from ..errors import CaffeError, require

CSV, JSON, JSON_LINES, PARQUET = FORMS = ("csv", "json", "jsonl", "parquet")
ROWS_AT_ONCE = 4096
"""How many rows a Parquet file's groups have; as many are kept until they are written."""

Record = Mapping[str, Any]
Put = Callable[[Record, Sequence[Record]], None]
"""Takes one thing's results: whole, as JSON has them, and as rows, as tables have them."""


def form_of(place: str) -> tuple[str, str | None]:
    """Return the form that a file's name or a form's own name says, and where it goes.

    Parameters
    ----------
    place : str
        A file that ends in .csv, .json, .jsonl or .parquet; or one of these words without a dot,
        for standard output.

    Returns
    -------
    form : str
        One of `FORMS`.
    path : str or None
        The file; None for standard output.

    Raises
    ------
    CaffeError
        It says no form.
    """
    if place in FORMS:
        return place, None
    form = os.path.splitext(place)[1][1:].lower()
    if form not in FORMS:
        endings = ", ".join(f".{name}" for name in FORMS)
        raise CaffeError(
            f"{place}: results are written to files that end in {endings}, or to standard output "
            f"where only {', '.join(FORMS[:-1])} is said"
        )
    return form, place


@contextmanager
def write_results(place: str, columns: Mapping[str, type]) -> Iterator[Put]:
    """Write results one after the other; a file takes its name when all went well.

    Parameters
    ----------
    place : str
        See `form_of`.
    columns : mapping of str to type
        A table's columns and their types: str, int or float. A row may leave some out.

    Yields
    ------
    put : callable
        See `Put`. JSON is a list of what is whole, JSON lines have one in each line; CSV and
        Parquet have the rows.

    Raises
    ------
    CaffeError
        The place says no form.
    MissingExtraError
        pyarrow is not installed, and the form is Parquet.
    WriteError
        The operating system refuses.
    """
    with write_form(*form_of(place), columns) as put:
        yield put


@contextmanager
def write_form(form: str, path: str | None, columns: Mapping[str, type]) -> Iterator[Put]:
    """Write results in a form to a file, or to standard output; see `write_results`."""
    if form == PARQUET:
        if path is None:
            raise CaffeError("Parquet goes into a file, not to standard output")
        with atomic_write(path) as stream, _parquet(stream, columns) as put:
            yield put
    elif path is None:
        with _TEXTS[form](sys.stdout, columns) as put:
            yield put
    else:
        with atomic_write(path, "w") as stream, _TEXTS[form](stream, columns) as put:
            yield put


@contextmanager
def _csv(stream: IO[str], columns: Mapping[str, type]) -> Iterator[Put]:
    writer = csv.DictWriter(stream, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()

    def put(whole: Record, rows: Sequence[Record]) -> None:
        writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
        stream.flush()

    yield put


@contextmanager
def _json(stream: IO[str], columns: Mapping[str, type]) -> Iterator[Put]:
    before = "["

    def put(whole: Record, rows: Sequence[Record]) -> None:
        nonlocal before
        stream.write(f"{before}\n{json.dumps(whole)}")
        stream.flush()
        before = ","

    yield put
    stream.write("[]\n" if before == "[" else "\n]\n")


@contextmanager
def _json_lines(stream: IO[str], columns: Mapping[str, type]) -> Iterator[Put]:
    def put(whole: Record, rows: Sequence[Record]) -> None:
        stream.write(f"{json.dumps(whole)}\n")
        stream.flush()

    yield put


_TEXTS = {CSV: _csv, JSON: _json, JSON_LINES: _json_lines}


@contextmanager
def _parquet(stream: IO[bytes], columns: Mapping[str, type]) -> Iterator[Put]:
    arrow = require("pyarrow", "parquet", "a Parquet file")
    parquet = require("pyarrow.parquet", "parquet", "a Parquet file")
    kinds = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    waiting: list[Record] = []
    with parquet.ParquetWriter(stream, schema) as writer:

        def flush() -> None:
            held = {name: [_text(row.get(name)) for row in waiting] for name in columns}
            writer.write_table(arrow.table(held, schema=schema))
            waiting.clear()

        def put(whole: Record, rows: Sequence[Record]) -> None:
            waiting.extend(rows)
            if len(waiting) >= ROWS_AT_ONCE:
                flush()

        yield put
        flush()


def _text(value: Any) -> Any:
    """A text without the halves of characters that stand for a file name's odd bytes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value
