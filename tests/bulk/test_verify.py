"""A look at every row finds what is missing, doubled or somebody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from caffe.bulk.job import Job
from caffe.bulk.manifest import shard_name
from caffe.bulk.parts import part_name
from caffe.bulk.run import FINISHED, run
from caffe.bulk.verify import verify
from caffe.errors import CaffeError, MissingFileError
from tests.helpers.bulk import job_of, painted

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(10))])
    run(job)
    return job


def rows_gone(out: Path) -> None:
    table = parquet.read_table(out / part_name(1))
    parquet.write_table(table.slice(1), out / part_name(1))


def other_pictures(out: Path) -> None:
    table = parquet.read_table(out / part_name(0))
    keys = table["key"].take([0, 0, 2, 3])
    parquet.write_table(table.set_column(1, "key", keys), out / part_name(0))


def others_rows(out: Path) -> None:
    shutil.copy(out / part_name(0), out / part_name(1))


def counts_wrong(out: Path) -> None:
    (out / FINISHED).write_text(json.dumps({"pictures": 11, "errors": 0}))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda out: (out / part_name(1)).unlink(), "1 faults: shard 1 has no rows|2 faults"),
        (rows_gone, "part 1 has not one row for each id"),
        (other_pictures, "part 0 has other pictures than its shard"),
        (others_rows, "part 1 has not one row for each id"),
        (lambda out: (out / part_name(2)).write_bytes(b"PAR1"), "no rows of pictures"),
        (lambda out: shutil.copy(out / part_name(0), out / part_name(7)), "part 7 belongs to no"),
        (lambda out: (out / shard_name(1)).unlink(), "the manifest has gaps"),
        (lambda out: (out / shard_name(2)).unlink(), "listing of the pictures is not finished"),
        (lambda out: (out / shard_name(0)).write_bytes(b"no"), "no shard of a manifest"),
        (lambda out: (out / FINISHED).unlink(), "the run is not finished"),
        (lambda out: (out / FINISHED).write_text("{}"), "says nothing"),
        (counts_wrong, "tells of 11 pictures"),
    ],
)
def test_what_is_wrong_is_named(job: Job, harm: Callable[[Path], object], told: str) -> None:
    verify(job.store).check()
    harm(Path(job.output))
    with pytest.raises(CaffeError, match=told):
        verify(job.store).check()


def test_many_faults_are_told_by_their_number(tmp_path: Path) -> None:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(14))], size=1)
    run(job)
    for number in range(14):
        (Path(job.output) / part_name(number)).unlink()
    with pytest.raises(CaffeError, match=r"15 faults: shard 0 .*; and 5 more"):
        verify(job.store).check()


def test_where_no_run_is_nothing_can_be_checked(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no run is here"):
        verify(job_of(tmp_path, ["a.png"]).store)
