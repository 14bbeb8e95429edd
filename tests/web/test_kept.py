"""What is kept of the last pictures stays within its bounds."""

from __future__ import annotations

import torch

from caffe.web.kept import Kept


def test_the_least_looked_at_goes_first_and_no_more_is_kept_than_may_be() -> None:
    kept = Kept(2 * 4096, 60)
    for name in ("a", "b"):
        kept.put((name,), {"x": torch.zeros(1024)})
    assert kept.get(("a",)) is not None
    kept.put(("c",), {"x": torch.zeros(1024)})
    assert kept.get(("b",)) is None
    assert kept.get(("a",)) is not None
    assert kept.size == 2 * 4096
    kept.put(("large",), {"x": torch.zeros(4096)})
    assert kept.get(("large",)) is None
    assert kept.size == 2 * 4096


def test_memory_that_layers_share_counts_once() -> None:
    kept = Kept(4096, 60)
    values = torch.zeros(1024)
    kept.put(("a",), {"x": values, "flat": values.view(32, 32)})
    assert kept.size == 4096


def test_what_nobody_looks_at_is_forgotten() -> None:
    now = [0.0]
    kept = Kept(1 << 20, 60, lambda: now[0])
    kept.put(("old",), {"x": torch.zeros(4)})
    now[0] = 50
    kept.put(("new",), {"x": torch.zeros(4)})
    now[0] = 70
    kept.forget_old()
    assert kept.get(("old",)) is None
    assert kept.get(("new",)) is not None
