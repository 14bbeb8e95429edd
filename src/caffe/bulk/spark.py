"""A run on a Spark cluster: a function for `DataFrame.mapInPandas`.

>>> from caffe.bulk import cluster, run, spark as bulk_spark        # doctest: +SKIP
>>> numbers = [(n,) for n in cluster.pending(job)]                  # doctest: +SKIP
>>> shards = session.createDataFrame(numbers, "shard long")         # doctest: +SKIP
>>> pieces = shards.repartition(len(numbers))                       # doctest: +SKIP
>>> work = bulk_spark.shards_worked(job)                            # doctest: +SKIP
>>> pieces.mapInPandas(work, bulk_spark.SCHEMA).collect()           # doctest: +SKIP
>>> run.finish(job.store, {})                                       # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import require
from .cluster import ShardWorker, as_columns
from .job import Job

SCHEMA = "shard long, pictures long, errors long"
"""Of the rows that say what was done."""


def shards_worked(job: Job) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return a function for `mapInPandas` that works on the shards of a column "shard".

    It takes the model's files with it. Spark may call it again for what it has lost; shards that
    have their rows are passed over.

    Parameters
    ----------
    job : Job
        The run. Its place must be one that all machines reach.
    """
    sent = job.packed()

    def worked(frames: Iterator[Any]) -> Iterator[Any]:
        pandas = require("pandas", "pandas", "Spark's mapInPandas")
        worker = ShardWorker(sent)
        for frame in frames:
            yield pandas.DataFrame(as_columns(worker.work(map(int, frame["shard"]))))

    return worked
