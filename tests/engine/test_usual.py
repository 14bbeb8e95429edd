"""An engine that is quick without a trial."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from caffe import mode
from caffe.bulk.tasks import QUICK, Arithmetic
from caffe.compiled import llvm
from caffe.engine.usual import quick_engine

ASK = """
from caffe import mode
from caffe.engine.usual import quick_engine
mode.set_engine(quick_engine())
print(mode.engine())
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    mode.set_engine("auto")
    mode.set_precision("float32")


@pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")
def test_kernels_compiled_here_are_quick() -> None:
    assert quick_engine() == "llvm"


def test_without_kernels_it_is_a_library_where_there_is_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "RECAFFE_COMPILE": "0"},
    )
    assert done.stdout.strip() == ("openvino" if find_spec("openvino") else "torch")


def test_a_run_takes_what_is_quick_where_it_computes() -> None:
    Arithmetic(engine=QUICK).use()
    assert mode.engine() == quick_engine()
