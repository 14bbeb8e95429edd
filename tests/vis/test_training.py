"""Figures of training."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from caffe.solver.rate_search import RateSearch
from caffe.vis import rate_search


def test_a_range_test_is_drawn_with_its_suggestion() -> None:
    found = RateSearch([10.0**i for i in range(-4, 1)], [5, 4.9, 3, 2.9, 9])
    (ax,) = rate_search(found).axes
    assert ax.get_xscale() == "log"
    assert list(ax.lines[0].get_ydata()) == found.losses
    assert ax.get_title() == "suggested base_lr: 0.001"
    nothing = rate_search(RateSearch([0.1, 1], [1, 2]))
    assert nothing.axes[0].get_title() == ""
