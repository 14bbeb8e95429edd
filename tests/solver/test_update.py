"""What a step takes from the parameters, however it is computed."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

import caffe
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.solver.methods import METHODS
from tests.helpers.second_store import CountingStore, use_store

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3] } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: [4, 2] } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" LR
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "y" type: "InnerProduct" bottom: "a" top: "y"
        param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""
FROZEN = "param { lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 }"


def made(settings: str = "", net: str = NET.replace("LR", "")) -> caffe.Solver:
    solver = caffe.SGDSolver(
        f'base_lr: 0.1 lr_policy: "step" stepsize: 2 gamma: 0.3 random_seed: 3 momentum: 0.9 '
        f"weight_decay: 0.02 snapshot_after_train: false {settings} net_param {{ {net} }}"
    )
    solver.net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(4, 3))
    return solver


def expected(solver: caffe.Solver, steps: int) -> list[np.ndarray]:
    """The weights after some steps by Caffe's rule, written down."""
    entries = solver.net.inside.parameters.learnable
    weights = [entry.blob.data.astype(np.float64) for entry in entries]
    history = [np.zeros_like(w) for w in weights]
    twin = made()
    for iteration in range(steps):
        for entry, w in zip(twin.net.inside.parameters.learnable, weights, strict=True):
            entry.blob.data[...] = w
        twin.net.clear_param_diffs()
        twin.net.forward()
        twin.net.backward()
        rate = 0.1 * 0.3 ** (iteration // 2)
        for i, entry in enumerate(twin.net.inside.parameters.learnable):
            g = entry.blob.diff + 0.02 * entry.decay_mult * weights[i]
            history[i] = 0.9 * history[i] + rate * entry.lr_mult * g
            weights[i] = weights[i] - history[i]
    return [*weights, *history]


def test_the_rate_stands_inside_the_history() -> None:
    solver = made()
    wanted = expected(solver, 5)
    solver.step(5)
    blobs = [entry.blob for entry in solver.net.inside.parameters.learnable]
    found = [blob.data for blob in blobs] + [blob.diff for blob in blobs]
    for values, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(values, want, rtol=1e-5, atol=1e-7)


def test_a_diff_that_is_held_shows_what_was_taken() -> None:
    solver, twin = made(), made()
    held = solver.net.params["y"][0].diff
    solver.step(2)
    twin.step(2)
    np.testing.assert_array_equal(held, twin.net.params["y"][0].diff)
    assert held.any()


def test_iter_size_divides_the_gradients() -> None:
    # The same batch twice, and half of the sum: as once.
    solver, twin = made("iter_size: 2"), made()
    solver.step(3)
    twin.step(3)
    for name, blobs in twin.net.params.items():
        np.testing.assert_allclose(
            solver.net.params[name][0].data, blobs[0].data, rtol=1e-5, atol=1e-7
        )


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "Adam", "AdaDelta"])
def test_what_is_frozen_stays_and_costs_nothing(kind: str) -> None:
    text = NET.replace("LR", FROZEN)
    param = SolverParameter()
    param.CopyFrom(made(net=text).param)
    param.type = kind
    solver = caffe.get_solver(param)
    solver.net.blobs["x"].data[...] = 1
    before = [blob.data.copy() for blob in solver.net.params["a"]]
    solver.step(3)
    for blob, values in zip(solver.net.params["a"], before, strict=True):
        np.testing.assert_array_equal(blob.data, values)
        assert blob.has_no_diff
    assert not np.array_equal(solver.net.params["y"][0].data, made().net.params["y"][0].data)


def test_what_is_frozen_still_moves_by_the_history_of_a_snapshot(tmp_path: object) -> None:
    solver = made(f'snapshot_prefix: "{tmp_path}/s"')
    solver.step(2)
    solver.snapshot()
    frozen = made(net=NET.replace("LR", FROZEN))
    frozen.restore(f"{tmp_path}/s_iter_2.solverstate")
    before = frozen.net.params["a"][0].data.copy()
    frozen.step(1)
    assert not np.array_equal(frozen.net.params["a"][0].data, before)


SETTINGS = {
    "AdaGrad": "delta: 1e-6",
    "RMSProp": "rms_decay: 0.9",
    "Nesterov": 'regularization_type: "L1"',
    "AdamW": "clip_gradients: 0.5",
    "SGD": "larc: true",
}


@pytest.mark.parametrize("method", METHODS)
def test_all_parameters_at_once_change_as_one_by_one(method: str) -> None:
    def weights(store: CountingStore | None) -> list[np.ndarray]:
        momentum = 0.9 if METHODS[method].takes_momentum else 0
        text = (
            f'type: "{method}" base_lr: 0.05 lr_policy: "fixed" weight_decay: 0.02 '
            f"momentum: {momentum} iter_size: 2 random_seed: 3 {SETTINGS.get(method, '')}"
        )
        solver = caffe.get_solver(f"{text} net_param {{ {NET.replace('LR', '')} }}")
        solver.net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(4, 3))
        if store is not None:
            use_store(store)
        try:
            solver.step(4)
        finally:
            caffe.set_mode_cpu()
        return [blob.data.copy() for blobs in solver.net.params.values() for blob in blobs]

    for found, wanted in zip(weights(CountingStore()), weights(None), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def test_statistics_without_gradients_decay_on_a_gpu_as_on_the_cpu() -> None:
    net = NET.replace("LR", "").replace(
        'layer { name: "y"',
        'layer { name: "n" type: "BatchNorm" bottom: "a" top: "a" }layer { name: "y"',
    )
    found = []
    for store in (CountingStore(), None):
        use_store(store)  # type: ignore[arg-type]
        solver = caffe.AdamSolver(
            f'base_lr: 0.1 lr_policy: "fixed" random_seed: 3 momentum: 0.9 weight_decay: 0.02 '
            f"snapshot_after_train: false net_param {{ {net} }}"
        )
        solver.net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(4, 3))
        solver.step(4)
        blobs = [blob for blobs in solver.net.params.values() for blob in blobs]
        found.append([blob.data.copy() for blob in blobs] + [blob.diff.copy() for blob in blobs])
        history = [array.numpy().copy() for array in solver._update.history]
        assert all(np.abs(array).sum() > 0 for array in history[2:5])
        found[-1] += history
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.cpu
def test_a_step_leaves_no_gradients_in_memory_that_nobody_has_asked_for() -> None:
    # As many weights as nobody else has.
    solver = made(net=NET.replace("LR", "").replace("num_output: 5", "num_output: 1237"))
    solver.step(2)
    gc.collect()
    held = [found for found in gc.get_objects() if type(found) is torch.Tensor]
    weights = {array.untyped_storage().data_ptr() for array in held if array.numel() == 3 * 1237}
    # The values themselves, and the momentum's.
    assert len(weights) == 2
