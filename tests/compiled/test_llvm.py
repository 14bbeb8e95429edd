"""Kernels are compiled for the processor at hand, and done without where that cannot be."""

from __future__ import annotations

import builtins
import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from caffe.compiled import llvm
from caffe.compiled.code import Code, Number
from caffe.compiled.llvm import Kernel, Program, width_for, width_within
from tests.helpers.kernels import threads

needs_kernels = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")


def doubling(width: int) -> str:
    """A kernel that doubles vectors one after the other."""
    code = Code(["array", "count"], width)
    with code.shared(code.given["count"]) as i:
        place = code.add(code.given["array"], code.multiply(i, 4 * width))
        code.store(code.scaled(code.load(place), 2.0), place)
    return code.text


@needs_kernels
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 64])
def test_threads_part_the_work(workers: int, count: int) -> None:
    values = torch.arange(4.0 * 70)
    with threads(workers):
        Kernel(doubling(4))(values.data_ptr(), count)
    expected = torch.arange(4.0 * 70)
    expected[: 4 * count] *= 2
    assert torch.equal(values, expected)


@needs_kernels
def test_vectors_are_as_wide_as_channels_allow() -> None:
    assert width_for(64) == llvm.width()
    assert width_for(24) == 8
    assert width_for(12) == 4
    assert width_for(6) == width_for(3) == 0
    assert width_within(50) == width_within(64) == llvm.width()
    assert width_within(12) == 8
    assert (width_within(6), width_within(3)) == (4, 0)


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
        assert width_for(64) == width_within(64) == 0
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


def counting() -> str:
    """A kernel whose every thread puts down how many there are, in its own place."""
    code = Code(["array"], 4)
    place = code.add(code.given["array"], code.multiply(code.thread, 4))
    code.store(code.everywhere(code.threads), place, Number("1"))
    return code.text


@needs_kernels
@pytest.mark.parametrize("made_for", [1, 3])
@pytest.mark.parametrize("then", [1, 2, 5])
@pytest.mark.parametrize("is_program", [False, True])
def test_no_more_threads_run_than_there_is_memory_for(
    made_for: int, then: int, is_program: bool
) -> None:
    found = torch.zeros(8, dtype=torch.int32)
    with threads(made_for):
        job = Kernel(counting()).job(found.data_ptr())
    with threads(then):
        (Program([job]) if is_program else job).run()
    count = min(made_for, then)
    assert found.tolist() == [count] * count + [0] * (8 - count)


def reversing() -> str:
    """A kernel that puts vectors, each number and 1, into another array the other way round."""
    code = Code(["array", "found", "count"], 4)
    given = code.given
    with code.shared(given["count"]) as i:
        place = code.subtract(code.subtract(given["count"], 1), i)
        value = code.load(code.add(given["array"], code.multiply(i, 16)))
        code.store(
            code.plus(value, code.constant(1.0)), code.add(given["found"], code.multiply(place, 16))
        )
    return code.text


@needs_kernels
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("jobs", [1, 2, 51])
def test_jobs_find_what_those_before_have_written(count: int, jobs: int) -> None:
    begun = torch.arange(4.0 * 33).view(33, 4)
    arrays = [begun.clone(), torch.empty(33, 4)]
    with threads(count):
        places = [array.data_ptr() for array in arrays]
        kernel = Kernel(reversing())
        # Each of them reads what other threads have made.
        program = Program([kernel.job(places[i % 2], places[1 - i % 2], 33) for i in range(jobs)])
        for turn in range(3):
            arrays[0][...] = begun + turn
            program.run()
            expected = begun + turn + jobs
            assert torch.equal(arrays[jobs % 2], expected.flip(0) if jobs % 2 else expected)


@needs_kernels
@pytest.mark.parametrize("made_for", [1, 3])
@pytest.mark.parametrize("then", [1, 2, 5])
def test_a_program_runs_in_as_many_threads_as_there_are(made_for: int, then: int) -> None:
    values = torch.arange(4.0 * 70)
    with threads(made_for):
        kernel = Kernel(doubling(4))
        program = Program([kernel.job(values.data_ptr(), 70) for _ in range(4)])
    with threads(then):
        program.run()
    assert torch.equal(values, 16 * torch.arange(4.0 * 70))


@needs_kernels
def test_a_program_without_jobs_does_nothing() -> None:
    Program([]).run()


@needs_kernels
def test_a_program_keeps_its_jobs() -> None:
    values = torch.ones(64)

    def made() -> Program:
        return Program([Kernel(doubling(4)).job(values.data_ptr(), 16) for _ in range(20)])

    program = made()
    # What else takes memory now would be where the fields were.
    others = [ctypes.create_string_buffer(40) for _ in range(100)]
    program.run()
    del others
    assert bool((values == 2**20).all())


@needs_kernels
def test_programs_of_several_threads_run_side_by_side() -> None:
    kernel = Kernel(doubling(4))

    def run(_: int) -> bool:
        values = torch.ones(256)
        program = Program([kernel.job(values.data_ptr(), 64)] * 10)
        program.run()
        return bool((values == 2**10).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(12)))


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
