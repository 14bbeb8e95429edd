"""Each parameter's own rate, by the formulas in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe.errors import NetError
from tests.helpers.linear import trained

BEGIN = 'base_lr: 0.5 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 '


def norm(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).sum()))


def test_lars_is_intels() -> None:
    solver, data, diffs = trained(
        BEGIN + "local_lr_auto: true local_gw_ratio: 0.1", "param { lr_mult: 3 decay_mult: 2 }"
    )
    w, h = data.astype(np.float64), 0.0
    for g in diffs:
        solver.step(1)
        g = g + 0.02 * w
        h = 0.9 * h + 0.5 * 0.1 * norm(w) / (norm(g) + 0.01 * norm(w)) * g
        w = w - h
        np.testing.assert_allclose(solver.net.params["y"][0].data, w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("turbo", [False, True])
@pytest.mark.parametrize("policy", ["scale", "clip"])
def test_larc_is_nvidias(policy: str, turbo: bool) -> None:
    solver, data, diffs = trained(
        BEGIN + f'larc: true larc_eta: 2 larc_policy: "{policy}" larc_turbo: {str(turbo).lower()}'
    )
    w, h, c = data.astype(np.float64), np.zeros(data.shape), 0.0
    for g in diffs:
        solver.step(1)
        own = 0.1 * 2 * norm(w) / norm(g)
        if turbo:
            c = 0.95 * c + 0.05 * float((g * h).sum() / (norm(g) * norm(h) or 1))
            own -= 0.9 * c
        h = 0.9 * h + (0.5 * own if policy == "scale" else min(0.5, own)) * (g + 0.01 * w)
        w = w - h
        np.testing.assert_allclose(solver.net.params["y"][0].data, w, rtol=1e-4, atol=1e-6)


def test_a_rate_of_zero_stays_so() -> None:
    for way in ("larc: true", "local_lr_auto: true"):
        solver, data, _ = trained(BEGIN + way, "param { lr_mult: 0 }")
        solver.step(2)
        np.testing.assert_array_equal(solver.net.params["y"][0].data, data)


def test_turbo_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    text = BEGIN + f'larc: true larc_turbo: true snapshot_prefix: "{tmp_path}/s"'
    solver, _, _ = trained(text)
    solver.step(3)
    solver.snapshot()
    again, _, _ = trained(text)
    again.restore(f"{tmp_path}/s_iter_3.solverstate")
    solver.step(2)
    again.step(2)
    np.testing.assert_array_equal(again.net.params["y"][0].data, solver.net.params["y"][0].data)


def test_ways_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(NetError, match="larc or local_lr_auto, not both"):
        trained(BEGIN + "larc: true local_lr_auto: true")
    with pytest.raises(NetError, match="must be scale or clip, not 'both'"):
        trained(BEGIN + 'larc: true larc_policy: "both"')
