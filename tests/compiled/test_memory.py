"""Memory in large pages is as much as is asked for, each number one's own, and not for ever."""

from __future__ import annotations

import gc
import mmap
import os
from pathlib import Path

import pytest
import torch

from caffe.compiled.memory import ANYWHERE, CHUNK, LargePages, Memory

STATM = Path("/proc/self/statm")

COUNTS = [1, 15, 16, 17, 0, 1000, 100_000, 3, 2**20 + 1, 2**19]


@pytest.mark.parametrize("memory", [ANYWHERE, LargePages()])
def test_zeros_that_nobody_else_has(memory: Memory) -> None:
    taken = [memory.take(count) for count in COUNTS]
    assert [tuple(one.shape) for one in taken] == [(count,) for count in COUNTS]
    for i, one in enumerate(taken):
        assert one.dtype == torch.float32
        assert not one.any()
        one.fill_(i + 1)
    for i, one in enumerate(taken):
        assert bool((one == i + 1).all())


def test_each_begins_with_a_line_of_the_cache() -> None:
    memory = LargePages()
    assert all(memory.take(count).data_ptr() % 64 == 0 for count in COUNTS)


def test_more_than_a_chunk_at_once() -> None:
    found = LargePages().take(CHUNK + 5)
    found[-1] = 3.0
    assert len(found) == CHUNK + 5
    assert float(found[0]) == 0


def test_what_is_taken_outlives_the_rest_of_its_chunk() -> None:
    memory = LargePages()
    first, second = memory.take(1000), memory.take(1000)
    second.fill_(2.0)
    del memory, first
    gc.collect()
    others = [LargePages().take(1000).fill_(5.0) for _ in range(10)]
    assert bool((second == 2).all())
    assert bool((others[0] == 5).all())


def test_where_the_system_has_no_large_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    memory = LargePages()
    taken = [memory.take(count) for count in COUNTS]
    assert [len(one) for one in taken] == COUNTS
    assert not any(bool(one.any()) for one in taken)


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")
def test_it_is_given_back_when_nobody_has_any() -> None:
    def resident() -> int:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    memory = LargePages()
    before = resident()
    taken = [memory.take(2**22).fill_(1.0) for _ in range(2)]
    assert resident() - before > 30e6
    # The second one is of the same chunk.
    del memory, taken[0]
    assert resident() - before > 30e6
    taken.clear()
    assert resident() - before < 5e6
