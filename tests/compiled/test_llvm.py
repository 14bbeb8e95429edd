"""Kernels are compiled for the processor at hand, and done without where that cannot be."""

from __future__ import annotations

import builtins
import subprocess
import sys
from typing import Any

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.code import Code
from caffe.compiled.llvm import Kernel, width_for

needs_kernels = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


def doubling(width: int) -> str:
    """A kernel that doubles vectors one after the other."""
    code = Code(["array", "count"], width)
    with code.shared(code.given["count"]) as i:
        place = code.add(code.given["array"], code.multiply(i, 4 * width))
        code.store(code.scaled(code.load(place), 2.0), place)
    return code.text


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 64])
def test_threads_part_the_work(threads: int, count: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        values = torch.arange(4.0 * 70)
        Kernel(doubling(4))(values.data_ptr(), count)
    finally:
        torch.set_num_threads(before)
    expected = torch.arange(4.0 * 70)
    expected[: 4 * count] *= 2
    assert torch.equal(values, expected)


@needs_kernels
def test_vectors_are_as_wide_as_channels_allow() -> None:
    assert width_for(64) == llvm.width()
    assert width_for(24) == 8
    assert width_for(12) == 4
    assert width_for(6) == width_for(3) == 0


@needs_kernels
def test_loops_and_conditions_and_constants() -> None:
    code = Code(["array", "rows", "bits"], 4)
    given = code.given
    with code.shared(given["rows"]) as row, code.loop(0, 32, 16) as column:
        place = code.add(code.add(given["array"], code.multiply(row, 32)), column)
        x, half = code.load(place), code.everywhere(given["bits"])
        code.store(code.larger(x, half, code.minus(x, code.constant(0.25)), half), place)
    values = torch.linspace(-1, 1, 24)
    expected = torch.where(values > 0.5, values - 0.25, torch.tensor(0.5))
    Kernel(code.text)(values.data_ptr(), 3, 0x3F000000)
    assert torch.equal(values, expected)


def test_none_where_llvmlite_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    find = builtins.__import__

    def without(name: str, *how: Any) -> Any:
        if name.startswith("llvmlite"):
            raise ImportError(name)
        return find(name, *how)

    for kept in (llvm.width, llvm._compiled):
        kept.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    try:
        assert width_for(64) == 0
    finally:
        llvm.width.cache_clear()


@pytest.mark.parametrize("said", ["0", "off"])
def test_none_where_somebody_says_so(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(llvm.VARIABLE, said)
    llvm.width.cache_clear()
    try:
        assert llvm.width() == 0
    finally:
        llvm.width.cache_clear()


@needs_kernels
def test_a_text_that_llvm_refuses_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        Kernel("define void @kernel(ptr %given) { nonsense }")


@needs_kernels
def test_a_forked_process_computes_alone() -> None:
    program = """
import os, torch
from caffe import processes
from caffe.engine import runner
from caffe.compiled.llvm import Kernel
from tests.compiled.test_llvm import doubling
torch.set_num_threads(2)
kernel = Kernel(doubling(4))
values = torch.ones(256)
kernel(values.data_ptr(), 64)
child = os.fork()
if not child:
    kernel(values.data_ptr(), 64)
    os._exit(0 if bool((values == 4).all()) else 1)
assert os.waitpid(child, 0)[1] == 0 and bool((values == 2).all())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
