"""Writing LMDB and LevelDB: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe
from caffe.io import database_writer
from caffe.io.database_writer import write_database
from caffe.layers.sources.databases import open_database
from caffe.proto.caffe_pb2 import DataParameter

NEEDS = {"lmdb": "lmdb", "leveldb": "plyvel"}


@pytest.mark.parametrize("backend", list(NEEDS))
def test_what_is_written_is_read(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(NEEDS[backend])
    # So small that it must grow.
    monkeypatch.setattr(database_writer, "FIRST_SIZE", 1 << 16)
    records = {b"%05d" % i: b"value %d " % i * (i % 900) for i in range(2500)}
    with write_database(tmp_path / "db", backend) as store:
        for key, value in records.items():
            store.put(key, value)
        assert not (tmp_path / "db").exists()
    found = open_database(str(tmp_path / "db"), DataParameter.DB.Value(backend.upper()))
    assert dict(found.entries()) == records


@pytest.mark.parametrize("backend", list(NEEDS))
def test_a_failure_leaves_nothing(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(NEEDS[backend])

    def fail() -> None:
        with write_database(tmp_path / "db", backend) as store:
            store.put(b"a", b"b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    for path, backend in ((tmp_path, "lmdb"), (tmp_path / "a", "x"), (tmp_path / "a/b", "lmdb")):
        with pytest.raises(caffe.errors.CaffeError), write_database(path, backend):
            pass
