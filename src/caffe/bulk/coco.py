"""The boxes of a run as one file in COCO's form."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from ..detect.annotations import coco_object
from .manifest import shard_numbers
from .parts import read_part
from .stores import Store

NAME = "_coco.json"


def write_coco(store: Store, classes: Mapping[int, str]) -> str:
    """Write what a finished run of `Detecting` has found as COCO has it; return the file's place.

    Images have the ids of their rows. Pictures that could not be read are left out. The rows of one
    shard are in memory at a time.

    Parameters
    ----------
    store : Store
        The run's place.
    classes : mapping of int to str
        The net's classes by their numbers; those that were found are added.

    Raises
    ------
    CaffeError
        Rows cannot be read, or the file cannot be written.
    """
    named = dict(classes)
    with tempfile.TemporaryFile("w+b") as stream:
        stream.write(b'{"images": [')
        _write_all(stream, _images(store))
        stream.write(b'], "annotations": [')
        _write_all(stream, _objects(store, named))
        kinds = [{"id": label, "name": name} for label, name in sorted(named.items())]
        stream.write(f'], "categories": {json.dumps(kinds)}}}'.encode())
        stream.seek(0)
        store.replace(NAME, stream)
    return f"{store.place}/{NAME}"


def _write_all(stream: IO[bytes], facts: Iterator[dict[str, Any]]) -> None:
    between = "\n"
    for fact in facts:
        stream.write(f"{between}{json.dumps(fact)}".encode())
        between = ",\n"


def _rows(store: Store) -> Iterator[dict[str, Any]]:
    for number in shard_numbers(store):
        for row in read_part(store, number).to_pylist():
            if row["error"] is None:
                yield row


def _images(store: Store) -> Iterator[dict[str, Any]]:
    for row in _rows(store):
        size = {"width": row["width"], "height": row["height"]}
        yield {"id": row["id"], "file_name": row["key"], **size}


def _objects(store: Store, classes: dict[int, str]) -> Iterator[dict[str, Any]]:
    number = 0
    for row in _rows(store):
        found = zip(row["labels"], row["names"], row["scores"], row["boxes"], strict=True)
        for label, name, score, box in found:
            number += 1
            classes.setdefault(label, name)
            yield coco_object(number, row["id"], label, score, box)
