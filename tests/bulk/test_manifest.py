"""The list of all pictures: a chain that several may write, and that nobody changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caffe.bulk.entries import Entry
from caffe.bulk.job import Job
from caffe.bulk.manifest import list_pictures, read_shard, shard_name, shard_numbers
from caffe.bulk.run import run
from caffe.errors import ParseError
from tests.helpers.bulk import check_whole, encoded, job_of, painted

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def listed(job: Job) -> list[tuple[int, int]]:
    """List, and return what was told of shards."""
    told: list[tuple[int, int]] = []
    list_pictures(job.store, job.sources, job.size, lambda n, count: told.append((n, count)), print)
    return told


def keys(job: Job) -> list[str]:
    shards = (read_shard(job.store, number) for number in shard_numbers(job.store))
    return [Path(entry.key).name for shard in shards for entry in shard.entries]


def test_shards_have_all_pictures_once_with_what_tells_them_apart(tmp_path: Path) -> None:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(10))])
    assert listed(job) == [(0, 4), (1, 4), (2, 2)]
    shard = read_shard(job.store, 2)
    assert (shard.ids, shard.is_last) == (range(8, 10), True)
    path = tmp_path / "pictures" / "0008.png"
    assert shard.entries[0] == Entry(
        str(path), path.stat().st_size, f"{path.stat().st_mtime_ns:x}-{path.stat().st_size:x}"
    )
    table = parquet.read_table(tmp_path / "out" / shard_name(2))
    assert table["id"].to_pylist() == [8, 9]


def test_a_listing_goes_on_behind_its_last_shard(tmp_path: Path) -> None:
    pictures = painted(tmp_path / "pictures", range(10))
    job = job_of(tmp_path, [pictures])
    listed(job)
    (tmp_path / "out" / shard_name(2)).unlink()
    # What has come before that place meanwhile is in no shard; what comes behind it is.
    (pictures / "0000b.png").write_bytes(encoded(0))
    painted(pictures, range(10, 13))
    assert listed(job) == [(0, 4), (1, 4), (2, 4), (3, 1)]
    assert keys(job) == [f"{number:04}.png" for number in range(13)]


def test_a_listing_whose_rest_has_gone_ends_with_an_empty_shard(tmp_path: Path) -> None:
    pictures = painted(tmp_path / "pictures", range(9))
    job = job_of(tmp_path, [pictures])
    listed(job)
    (tmp_path / "out" / shard_name(2)).unlink()
    (pictures / "0008.png").unlink()
    assert listed(job) == [(0, 4), (1, 4), (2, 0)]
    assert run(job).pictures == 8
    check_whole(job, 8)


def test_names_of_any_bytes_are_found_again(tmp_path: Path) -> None:
    pictures = painted(tmp_path / "pictures", [])
    odd = os.fsencode(pictures) + b"/\xff-0001.png"
    try:
        with open(odd, "wb") as stream:
            stream.write(encoded(1))
    except OSError:
        pytest.skip("this system takes no such names")
    job = job_of(tmp_path, [pictures])
    assert run(job) == (1, 0)
    assert read_shard(job.store, 0).entries[0].key == os.fsdecode(odd)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_manifest_with_a_gap_is_refused(tmp_path: Path, lost: int) -> None:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(10))])
    listed(job)
    (tmp_path / "out" / shard_name(lost)).unlink()
    with pytest.raises(ParseError, match="a shard is missing among others"):
        run(job)
