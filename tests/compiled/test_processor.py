"""The processor is what Linux says of its first CPU."""

from __future__ import annotations

from pathlib import Path

from caffe.compiled import processor


def test_the_first_cpu(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Old: one\nflags\t\t: fpu avx2 avx512f\ncpu MHz\t: 1\n\n"
        "processor\t: 1\nmodel name\t: Another\nflags\t\t: fpu\n"
    )
    root = str(tmp_path)
    assert processor.described(root) == {"model name": "Old: one", "flags": "fpu avx2 avx512f"}
    assert processor.has("avx2", "avx512f", root=root)
    assert not processor.has("avx2", "avx51", root=root)


def test_where_nothing_is_told(tmp_path: Path) -> None:
    assert processor.described(str(tmp_path)) == {}
    assert not processor.has("avx2", root=str(tmp_path))
