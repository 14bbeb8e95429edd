"""Updates, by their formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe.proto.caffe_pb2 import SolverParameter
from caffe.solver.methods import METHODS
from tests.helpers.linear import trained


def test_adamw_takes_decay_beside_adams_update() -> None:
    settings = (
        'type: "AdamW" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 momentum2: 0.99 '
        "weight_decay: 0.1 delta: 1e-8"
    )
    solver, data, diffs = trained(settings)
    w, m, v = data.astype(np.float64), 0.0, 0.0
    for t, g in enumerate(diffs, 1):
        solver.step(1)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        rate = 0.01 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t)
        w = w - rate * m / (np.sqrt(v) + 1e-8) - 0.01 * 0.1 * w
        np.testing.assert_allclose(solver.net.params["y"][0].data, w, rtol=1e-5, atol=1e-6)


def test_adamw_is_torchs() -> None:
    settings = 'type: "AdamW" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.1'
    solver, data, diffs = trained(settings)
    parameter = torch.nn.Parameter(torch.from_numpy(data.copy()))
    peer = torch.optim.AdamW([parameter], lr=0.01, betas=(0.9, 0.999), weight_decay=0.1)
    for g in diffs:
        solver.step(1)
        parameter.grad = torch.from_numpy(g.astype(np.float32))
        peer.step()
    np.testing.assert_allclose(
        solver.net.params["y"][0].data, parameter.detach().numpy(), rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["L1", "L2"])
def test_decay_may_be_decoupled_from_any_method(kind: str) -> None:
    solver, data, diffs = trained(
        'base_lr: 0.1 lr_policy: "fixed" momentum: 0.5 weight_decay: 0.2 '
        f'decoupled_weight_decay: true regularization_type: "{kind}"'
    )
    w, h = data.astype(np.float64), 0.0
    for g in diffs:
        solver.step(1)
        h = 0.5 * h + 0.1 * g
        w = w - h - 0.1 * 0.2 * (w if kind == "L2" else np.sign(w))
        np.testing.assert_allclose(solver.net.params["y"][0].data, w, rtol=1e-5, atol=1e-6)


def test_sgds_momentum_follows_a_rate_that_rises() -> None:
    solver, data, diffs = trained(
        'base_lr: 0.1 lr_policy: "fixed" momentum: 0.5 warmup_iter: 3 warmup_start_lr: 0.01'
    )
    w, h, before = data.astype(np.float64), 0.0, 0.01
    for i, g in enumerate(diffs):
        solver.step(1)
        rate = 0.01 + 0.03 * i if i < 3 else 0.1
        h = 0.5 * (rate / before if i < 3 else 1) * h + rate * g
        w, before = w - h, rate
        np.testing.assert_allclose(solver.net.params["y"][0].data, w, rtol=1e-5, atol=1e-6)


def test_momentum_and_decay_rise_as_nvidias() -> None:
    solver, data, diffs = trained(
        'base_lr: 0.1 lr_policy: "fixed" momentum: 0.5 max_iter: 10 weight_decay: 0.1 '
        'momentum_policy: "poly" max_momentum: 0.9 momentum_power: 2 '
        'weight_decay_policy: "poly" max_weight_decay: 0.3'
    )
    w, h = data.astype(np.float64), 0.0
    for i, g in enumerate(diffs):
        solver.step(1)
        h = (0.5 + 0.4 * (i / 10) ** 2) * h + 0.1 * (g + (0.1 + 0.2 * i / 10) * w)
        w = w - h
        np.testing.assert_allclose(solver.net.params["y"][0].data, w, rtol=1e-5, atol=1e-6)


def test_momentum_may_follow_the_rate() -> None:
    solver, data, diffs = trained('base_lr: 0.16 lr_policy: "fixed" momentum_policy: "opt"')
    w, h = data.astype(np.float64), 0.0
    for g in diffs:
        solver.step(1)
        h = (1 - 0.5 * 0.4) ** 2 * h + 0.16 * g
        w = w - h
        np.testing.assert_allclose(solver.net.params["y"][0].data, w, rtol=1e-5, atol=1e-6)


def test_every_method_has_its_solver() -> None:
    from caffe.solver.types import SOLVERS

    assert SOLVERS.keys() == METHODS.keys()
    assert not METHODS["Adam"](SolverParameter()).decoupled
    assert METHODS["AdamW"](SolverParameter()).decoupled
