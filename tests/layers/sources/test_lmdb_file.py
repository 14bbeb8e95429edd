"""LMDB files: read as the library reads them, and no damage that does more than an error."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from caffe.layers.sources.lmdb_file import LmdbError, LmdbFile

lmdb = pytest.importorskip("lmdb")
PAGE = 4096


def write(folder: Path, records: dict[bytes, bytes], rounds: int = 1, **options: Any) -> Path:
    """Write records in some transactions, some of them away and back again, and return the file."""
    with lmdb.open(str(folder), map_size=1 << 24, max_dbs=2) as environment:
        database = environment.open_db(**options) if options else None
        for _ in range(rounds):
            with environment.begin(write=True, db=database) as transaction:
                for key, value in records.items():
                    transaction.put(key, value)
                for key in list(records)[::3]:
                    transaction.delete(key)
                    transaction.put(key, records[key])
    return folder / "data.mdb"


def some_records(count: int) -> dict[bytes, bytes]:
    chance = random.Random(count)
    return {
        b"%08d" % i + b"k" * chance.randrange(400): chance.randbytes(
            chance.choice([0, 9, 700, 9999])
        )
        for i in range(count)
    }


@pytest.mark.parametrize("count", [0, 1, 2, 50, 700])
@pytest.mark.parametrize("rounds", [1, 4])
def test_records_are_the_librarys(count: int, rounds: int, tmp_path: Path) -> None:
    records = some_records(count)
    file = LmdbFile(str(write(tmp_path / "db", records, rounds)))
    assert list(file.records()) == sorted(records.items())
    assert list(file.records()) == sorted(records.items())


def test_what_is_written_meanwhile_is_in_the_next_round(tmp_path: Path) -> None:
    file = LmdbFile(str(write(tmp_path / "db", {b"a": b"1"})))
    write(tmp_path / "db", {b"b": b"2"})
    assert list(file.records()) == [(b"a", b"1"), (b"b", b"2")]


def test_databases_with_names_and_several_values_are_refused(tmp_path: Path) -> None:
    file = LmdbFile(str(write(tmp_path / "named", {b"a": b"1"}, key=b"name", create=True)))
    with pytest.raises(LmdbError, match="has a database"):
        list(file.records())
    path = write(tmp_path / "many", {b"a": b"1"})
    flags = 92
    path.write_bytes(damaged(path.read_bytes(), "<H", PAGE + flags, 4))
    with pytest.raises(LmdbError, match="several values"):
        LmdbFile(str(path))


def damaged(content: bytes, form: str, at: int, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def test_a_tree_in_a_circle_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "db", {b"%04d" % i: bytes(500) for i in range(100)})
    content = path.read_bytes()
    branch = next(
        page * PAGE
        for page in range(2, len(content) // PAGE)
        if struct.unpack_from("<QHH", content, page * PAGE)[::2] == (page, 1)
    )
    first, second = struct.unpack_from("<HH", content, branch + 16)
    # The second child is the first one again.
    child = struct.unpack_from("<H", content, branch + first)[0]
    path.write_bytes(damaged(content, "<H", branch + second, child))
    with pytest.raises(LmdbError, match="goes back"):
        list(LmdbFile(str(path)).records())


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "db", {b"%04d" % i: bytes(500) for i in range(100)})
    records = LmdbFile(str(path)).records()
    next(records)
    os.truncate(path, 3 * PAGE)
    with pytest.raises(LmdbError, match="cut off"):
        list(records)


def test_no_damage_does_more_than_an_error(tmp_path: Path) -> None:
    chance = random.Random(0)
    content = write(tmp_path / "db", some_records(60), 2).read_bytes()
    path = tmp_path / "damaged"
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 3])):
            # Mostly where pages and nodes describe themselves.
            page = chance.randrange(len(content) // PAGE) * PAGE
            at = page + chance.randrange(chance.choice([18, 160, PAGE]))
            changed[at] = chance.choice([0, 1, 255, chance.randrange(256)])
        path.write_bytes(changed)
        try:
            records = dict(LmdbFile(str(path)).records())
        except LmdbError:
            continue
        assert len(records) <= 60
        assert sum(map(len, records.values())) <= len(content)
