"""Any number of pictures, with a row for each: resumable, by several processes or machines.

Pictures are listed once, into shards of a manifest; a shard is the unit of work. Its rows become
one Parquet file that is there whole or not at all, so that what is done is what has a file, whoever
did it and however often somebody was killed.
"""

from __future__ import annotations
