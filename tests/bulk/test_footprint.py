"""A process that only works on shards does not load what it has no use for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.places import REPOSITORY

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

PROGRAM = """
import sys
from caffe.bulk.footprint import give_back, keep_small

keep_small()
import pyarrow

assert pyarrow.array(["a", None]).to_pylist() == ["a", None]
give_back()
print("pandas" in sys.modules, pyarrow.default_memory_pool().backend_name)
import pandas
"""


def test_arrow_does_without_pandas_and_others_may_have_it() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env={"PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "system"]
