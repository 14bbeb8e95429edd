"""The range test: a rate that rises until the loss does."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from caffe.errors import ArgumentError
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.text import parse_text
from caffe.solver.rate_search import RateSearch, search_rate

# The loss (w - 1)^2 / 2 for x = 1: its step of SGD diverges where the rate is above 2.
NET = """
layer { name: "x" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: [1, 1] } shape { dim: [1, 1] } data_filler { type: "constant" value: 1 } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 1 bias_term: false } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""


def param(text: str = "") -> SolverParameter:
    return parse_text(
        f'net_param {{ {NET} }} lr_policy: "step" base_lr: 99 stepsize: 5 display: 1 snapshot: 3 '
        f"test_iter: 1 test_interval: 1 {text}",
        SolverParameter(),
    )


def test_the_rate_rises_evenly_in_its_logarithm() -> None:
    found = search_rate(param(), 1e-4, 1e-2, steps=21)
    np.testing.assert_allclose(found.rates, np.logspace(-4, -2, 21), rtol=1e-4)
    assert len(found.losses) == 21
    assert found.losses[0] > found.losses[-1]


def test_it_ends_where_the_loss_diverges_and_suggests_a_rate_before() -> None:
    found = search_rate(param(), 1e-4, 1e4, steps=100)
    assert len(found.rates) < 100
    assert found.suggestion is not None
    assert 1e-3 < found.suggestion < 2
    assert f"suggested base_lr: {found.suggestion:.3g}" in str(found)


def test_the_loss_is_smoothed_by_its_formula() -> None:
    found = search_rate(param(), 1e-4, 1e-2, steps=5)
    w, s = 0.0, 0.0
    for i, rate in enumerate(found.rates):
        s = 0.9 * s + 0.1 * (w - 1) ** 2 / 2
        assert found.losses[i] == pytest.approx(s / (1 - 0.9 ** (i + 1)), rel=1e-5)
        w -= rate * (w - 1)


def test_a_loss_that_only_rises_suggests_nothing() -> None:
    assert RateSearch([0.1, 0.2, 0.3], [1, 2, 3]).suggestion is None
    assert "falls at none" in str(RateSearch([0.1, 0.2, 0.3], [1, 2, 3]))
    steep = RateSearch([10.0**i for i in range(5)], [5, 4.9, 3, 2.9, math.inf])
    assert steep.suggestion == 10


def test_the_first_batches_may_be_lucky_or_not() -> None:
    rates = [10.0 ** (i / 5) for i in range(-20, 0)]
    falling = [2.6] * 10 + [2.5, 2.4, 2.3, 2.25, 2.21, 2.2, 2.2, 2.3, 4, 5]
    for first in (1.9, 9.0):
        found = RateSearch(rates, [first, *falling[1:]])
        assert found.best == 15
        assert found.suggestion in rates[10:13]
    assert RateSearch(rates, [1.9, 2.4, *(2.5 + i / 9 for i in range(18))]).suggestion is None


def test_what_is_no_range_is_refused() -> None:
    for lowest, highest, steps in ((0, 1, 9), (1, 0.1, 9), (0.1, 1, 2)):
        with pytest.raises(ArgumentError, match="rates that rise from above 0"):
            search_rate(param(), lowest, highest, steps)


def test_a_program_reaches_it_by_its_name() -> None:
    code = "import caffe; print(caffe.solver.rate_search.search_rate.__name__)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert found.stdout == "search_rate\n", found.stderr
