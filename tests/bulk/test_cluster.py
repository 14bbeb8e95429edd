"""The same rows by engines that hand out shards.

A local Ray and a local Spark take a minute to start; they are asked for by RECAFFE_CLUSTERS=1.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from caffe.bulk import spark
from caffe.bulk.cluster import ShardWorker, pending
from caffe.bulk.job import Job
from caffe.bulk.parts import Count
from caffe.bulk.run import finish
from caffe.errors import CaffeError
from tests.helpers.bulk import check_whole, job_of, painted
from tests.helpers.places import REPOSITORY

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


takes_a_minute = pytest.mark.skipif(
    not os.environ.get("RECAFFE_CLUSTERS"), reason="takes a minute; RECAFFE_CLUSTERS=1 runs it"
)


def job_with_a_bad_picture(folder: Path) -> Job:
    pictures = painted(folder / "pictures", range(23))
    (pictures / "0004.png").write_text("no picture")
    return job_of(folder, [pictures], size=3)


def test_what_engines_hand_out_is_done_once(tmp_path: Path) -> None:
    job = job_with_a_bad_picture(tmp_path)
    numbers = pending(job)
    assert numbers == list(range(8))
    # On another machine there are none of the model's files.
    sent = job.packed()
    shutil.rmtree(tmp_path / "net")
    worker = ShardWorker(sent)
    done = worker({"shard": numbers[:3]})
    assert done == {"shard": [0, 1, 2], "pictures": [3, 3, 3], "errors": [0, 1, 0]}
    assert worker({"shard": numbers[:4]}) == {"shard": [3], "pictures": [3], "errors": [0]}
    with pytest.raises(CaffeError, match="not finished: 4 of the 8 shards"):
        finish(job.store, {})
    # An engine that says no more of what it has lost cannot make it look done.
    worker({"shard": pending(sent)})
    assert finish(job.store, {}) == Count(23, 1)
    check_whole(job, 23, errors=1)


@takes_a_minute
def test_ray_makes_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed")
    from caffe.bulk.ray_cluster import run_on_ray

    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}")
    job = job_with_a_bad_picture(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run_on_ray(job, "local", actors=(1, 2)) == Count(23, 1)
    check_whole(job, 23, errors=1)
    assert run_on_ray(job, "local") == Count(23, 1)


@takes_a_minute
def test_spark_makes_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    job = job_with_a_bad_picture(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
        builder: Any = sql.SparkSession.builder.master("local[2]").appName("caffe")
        session = builder.config(map=settings).getOrCreate()
        try:
            numbers = [(number,) for number in pending(job)]
            shards = session.createDataFrame(numbers, "shard long").repartition(4)
            done = shards.mapInPandas(spark.shards_worked(job), spark.SCHEMA).collect()
        finally:
            session.stop()
    assert sorted((row.shard, row.pictures) for row in done) == [
        *((number, 3) for number in range(7)),
        (7, 2),
    ]
    assert finish(job.store, {}) == Count(23, 1)
    check_whole(job, 23, errors=1)
