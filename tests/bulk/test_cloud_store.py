"""Runs over an object storage, which is slow, fails now and then, and has several clients."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from caffe.bulk import cloud_store
from caffe.bulk.job import Job
from caffe.bulk.parts import Count
from caffe.bulk.retrying import retry_errors
from caffe.bulk.run import run
from caffe.bulk.stores import open_store
from caffe.errors import CaffeError, FetchError, MissingFileError, WriteError
from tests.helpers.buckets import Faults, bucket
from tests.helpers.bulk import archive, check_whole, encoded, job_of, name_of

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    quick: dict[str, Any] = {
        "init_backoff": timedelta(milliseconds=1),
        "max_backoff": timedelta(milliseconds=20),
        "base": 2,
    }
    monkeypatch.setitem(cloud_store._RETRIES, "backoff", quick)
    with bucket(monkeypatch) as found:
        yield found


def uploaded(count: int, prefix: str = "photos") -> str:
    """Put pictures into the bucket; return their prefix."""
    store = open_store("s3://pictures")
    for number in range(count):
        store.create(f"{prefix}/{name_of(number)}", encoded(number))
    return f"s3://pictures/{prefix}/"


def job(folder: Path, *sources: str, out: str = "s3://pictures/out", size: int = 4) -> Job:
    return job_of(folder, sources, out, size)


def test_of_two_who_keep_a_thing_one_does(faults: Faults) -> None:
    store = open_store("s3://pictures/a folder/ü")
    assert store.create("x", b"first")
    assert not store.create("x", b"second")
    assert store.read("x") == b"first"
    store.replace("x", b"third one")
    assert store.read_range("x", 6, 3) == b"one"
    assert store.create("deep/y", b"")
    assert list(store.names("")) == ["x"]
    with store.open("x") as stream:
        stream.seek(-3, os.SEEK_END)
        assert stream.read() == b"one"
        stream.seek(0)
        assert stream.read(5) == b"third"
    with pytest.raises(MissingFileError, match="no such object"):
        store.read("absent")
    with pytest.raises(WriteError, match="no such bucket"):
        open_store("s3://absent").create("x", b"")


def test_pictures_and_rows_in_a_bucket(faults: Faults, tmp_path: Path) -> None:
    photos = uploaded(10)
    open_store("s3://pictures").create("photos/broken.jpg", b"no picture")
    open_store("s3://pictures").create("photos/notes.txt", b"none at all")
    tar = archive(tmp_path / "a.tar", range(10, 15)).read_bytes()
    open_store("s3://pictures").create("tars/a.tar", tar)
    packed = archive(tmp_path / "b.tgz", range(15, 18)).read_bytes()
    open_store("s3://pictures").create("tars/b.tgz", packed)
    open_store("s3://pictures").create("one/0003.png", encoded(3))
    named = job(tmp_path, photos, "s3://pictures/tars/*", "s3://pictures/one/0003.png")
    assert run(named) == Count(20, 1)
    rows = check_whole(named, 20, errors=1)
    assert rows[0]["key"] == "s3://pictures/photos/0000.png"
    assert rows[11]["key"] == "s3://pictures/tars/a.tar#0010.png"
    # What lies side by side in an archive is brought by one request.
    assert sum(asked == "GET /pictures/tars/a.tar" for asked in faults.asked) <= 6
    open_store("s3://pictures").replace("photos/broken.jpg", encoded(0, "JPEG"))
    # The name is no number, so that only the counts are looked at.
    assert retry_errors(named) == Count(20, 0)


def test_names_that_the_library_does_not_take_are_said(faults: Faults, tmp_path: Path) -> None:
    photos = uploaded(2)
    named = job(tmp_path, photos, "s3://pictures/other//0009.png")
    assert run(named) == Count(3, 1)
    assert "empty path segment" in check_whole(named, 3, errors=1)[2]["error"]
    with pytest.raises(WriteError, match="empty path segment"):
        run(job(tmp_path, photos, out="s3://pictures/a//b"))


def test_a_picture_of_several_prefixes_is_one(faults: Faults, tmp_path: Path) -> None:
    uploaded(3, "photos/a")
    uploaded(5, "photos/b")
    sources = ("s3://pictures/photos/a/", "s3://pictures/photos/a/0001.png", "s3://pictures/photos")
    named = job(tmp_path, *sources)
    assert run(named) == Count(8, 0)
    check_whole(named, 8)


def test_failing_and_slow_answers_lose_nothing(faults: Faults, tmp_path: Path) -> None:
    photos = uploaded(40)
    faults.share, faults.delay = 0.3, 0.05
    named = job(tmp_path, photos)
    assert run(named) == Count(40, 0)
    faults.share = 0.0
    check_whole(named, 40)


def test_two_runs_and_a_listing_that_grows(faults: Faults, tmp_path: Path) -> None:
    photos = uploaded(24)
    named = job(tmp_path, photos, size=2)
    faults.share = 0.1
    counts: list[Count] = []
    threads = [threading.Thread(target=lambda: counts.append(run(named))) for _ in range(2)]
    for thread in threads:
        thread.start()
    uploaded(48)
    for thread in threads:
        thread.join()
    faults.share = 0.0
    assert counts[0] == counts[1]
    assert 24 <= counts[0].pictures <= 48
    check_whole(named, counts[0].pictures)


def test_a_storage_that_goes_down_ends_the_run_and_no_picture(
    faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_store, "_TRIES", 1)
    monkeypatch.setitem(cloud_store._RETRIES, "max_retries", 2)
    open_store.cache_clear()
    named = job(tmp_path, uploaded(120), out=str(tmp_path / "out"), size=60)
    faults.left = 80
    with pytest.raises(FetchError, match="16 pictures one after the other could not be had"):
        run(named)
    faults.left = None
    # Nothing of what was half done is written down as pictures that cannot be read.
    assert run(named) == Count(120, 0)
    check_whole(named, 120)


def test_a_storage_that_is_down_is_said(
    faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_store, "_TRIES", 1)
    photos = uploaded(3)
    faults.share = 1.0
    with pytest.raises(WriteError, match=r"_RUN\.json: cannot be written"):
        run(job(tmp_path, photos))
    with pytest.raises(FetchError, match="cannot be read"):
        open_store("s3://pictures").read("photos/0000.png")
    with pytest.raises(FetchError, match="cannot be listed"):
        run(job(tmp_path, photos, out=str(tmp_path / "out")))
    with pytest.raises(CaffeError, match="no object storage"):
        open_store("ftp://pictures")
