"""Caches are as large as Linux says, or as large as usual where it says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe.compiled import caches


def described(root: Path, **sizes: str) -> str:
    """A folder in which caches of these sizes are told of, by their level."""
    for i, (level, size) in enumerate(sizes.items()):
        folder = root / f"sys/devices/system/cpu/cpu0/cache/index{i}"
        folder.mkdir(parents=True)
        (folder / "level").write_text(f"{level[1:]}\n")
        (folder / "size").write_text(f"{size}\n")
    return str(root)


def test_what_linux_says(tmp_path: Path) -> None:
    root = described(tmp_path, L1="32K", L2="512K", L3="16M")
    assert caches.second(root) == 2**19
    assert caches.last(root) == 2**24


def test_a_second_cache_may_be_the_last_one(tmp_path: Path) -> None:
    root = described(tmp_path, L1="32K", L2="2048K")
    assert caches.second(root) == caches.last(root) == 2**21


@pytest.mark.parametrize("size", ["", "0K", "many"])
def test_where_nothing_is_told(tmp_path: Path, size: str) -> None:
    root = described(tmp_path, L2=size) if size else str(tmp_path)
    assert (caches.second(root), caches.last(root)) == (caches.SECOND, caches.LAST)
