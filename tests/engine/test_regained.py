"""Gradients that a solver's step lets go, and what is found by whoever looks at them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

import caffe
from caffe.engine import regained
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.files import parse_net

WORTH = regained.WORTH

HEAD = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [16, 3, 16, 16] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 16 } } }
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 24 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "branch" type: "Convolution" bottom: "conv" top: "branch"
        convolution_param { num_output: 24 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "own" type: "BatchNorm" bottom: "branch" top: "own" }
layer { name: "factor" type: "Scale" bottom: "own" top: "own" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "own" top: "sum" }
layer { name: "drop" type: "Dropout" bottom: "sum" top: "sum" }
layer { name: "pool" type: "Pooling" bottom: "sum" top: "pool"
        pooling_param { kernel_size: 4 stride: 4 } }
layer { name: "flat" type: "Flatten" bottom: "pool" top: "flat" }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


CONV = """layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "squash" type: "Sigmoid" bottom: "conv" top: "squash" }
"""


@pytest.fixture(autouse=True)
def small_nets_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regained, "WORTH", 0)


def _solver(net: str = HEAD + BODY, kind: type[caffe.Solver] = caffe.SGDSolver) -> caffe.Solver:
    param = SolverParameter(
        net_param=parse_net(net), base_lr=0.01, lr_policy="fixed", random_seed=1, iter_size=2
    )
    if kind is caffe.SGDSolver:
        param.momentum = 0.9
    solver = kind(param)
    rng = np.random.default_rng(3)
    blobs = solver.net.blobs
    blobs["data"].data[...] = rng.standard_normal(blobs["data"].data.shape, dtype=np.float32)
    blobs["label"].data[...] = rng.integers(0, 5, 16)
    return solver


def _kept_after(steps: int, kind: type[caffe.Solver] = caffe.SGDSolver) -> dict[str, np.ndarray]:
    """The diffs of a solver whose arrays somebody holds, so that none is let go."""
    solver = _solver(kind=kind)
    arrays = {name: blob.diff for name, blob in solver.net.blobs.items()}
    solver.step(steps)
    return arrays


def _are_gone(net: caffe.Net) -> bool:
    """Whether the gradients have no memory of their own at the moment."""
    memories = [net.blobs[name].diff_memory for name in ("conv", "own", "sum", "pool", "ip")]
    return all(memory.is_deferred and not memory.formed for memory in memories)


def _assert_diffs(net: caffe.Net, expected: dict[str, np.ndarray]) -> None:
    for name, values in expected.items():
        np.testing.assert_array_equal(net.blobs[name].diff, values, err_msg=name)
    assert all(np.abs(expected[name]).sum() > 0 for name in ("conv", "own", "sum", "flat", "ip"))


def _overwrite(net: caffe.Net) -> None:
    for blob in (net.blobs["data"], net.params["conv"][0], net.params["ip"][1]):
        blob.data[...] = 1


@pytest.mark.cpu
@pytest.mark.parametrize(
    "meanwhile",
    [lambda net: None, _overwrite, lambda net: net.forward(), caffe.Net.clear_param_diffs],
    ids=["at once", "after writing", "after a forward", "after clearing"],
)
def test_who_looks_finds_what_the_step_found(meanwhile: Callable[[caffe.Net], object]) -> None:
    solver = _solver()
    solver.step(2)
    assert _are_gone(solver.net)
    meanwhile(solver.net)
    _assert_diffs(solver.net, _kept_after(2))


@pytest.mark.cpu
def test_adam_s_steps_let_go_too() -> None:
    solver = _solver(kind=caffe.AdamSolver)
    solver.step(1)
    assert _are_gone(solver.net)
    _assert_diffs(solver.net, _kept_after(1, caffe.AdamSolver))


@pytest.mark.cpu
def test_who_has_looked_once_finds_them_kept() -> None:
    solver = _solver()
    solver.step(1)
    assert np.abs(solver.net.blobs["own"].diff).sum() > 0
    solver.step(1)
    assert not _are_gone(solver.net)
    _assert_diffs(solver.net, _kept_after(2))


@pytest.mark.cpu
def test_looking_changes_nothing_that_is_trained() -> None:
    trained = []
    for looks in (False, True):
        solver = _solver()
        solver.step(1)
        before = solver.net.blobs["conv"].data.copy()
        if looks:
            assert np.abs(solver.net.blobs["conv"].diff).sum() > 0
        np.testing.assert_array_equal(solver.net.blobs["conv"].data, before)
        solver.step(2)
        params = [blob for blobs in solver.net.params.values() for blob in blobs]
        trained.append([array for blob in params for array in (blob.data, blob.diff)])
    for array, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(array, other)


def test_gradients_are_there_for_callbacks_before_the_update() -> None:
    solver, seen = _solver(), {}
    solver.add_callback(lambda: None, lambda: seen.update(own=solver.net.blobs["own"].diff.copy()))
    solver.step(1)
    np.testing.assert_array_equal(seen["own"], _kept_after(1)["own"])


def test_a_program_s_own_backward_keeps_them() -> None:
    net = _solver().net
    net.forward()
    net.backward()
    assert not _are_gone(net)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + 'layer { name: "half" type: "Power" bottom: "data" top: "data" '
        "power_param { scale: 0.5 } }" + BODY,
        HEAD
        + BODY.replace("kernel_size: 4 stride: 4", "kernel_size: 4 stride: 4 pool: STOCHASTIC"),
        HEAD + BODY.replace("num_output: 5 ", "num_output: 5000 "),
    ],
    ids=["source in place", "draws anew", "many parameters"],
)
def test_what_cannot_be_had_again_or_is_not_worth_it_is_kept(text: str) -> None:
    solver = _solver(text)
    solver.step(1)
    assert not _are_gone(solver.net)


@pytest.mark.parametrize(("size", "are_gone"), [(16, False), (64, True)])
def test_so_many_gradients_are_let_go(
    size: int, are_gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regained, "WORTH", WORTH)
    solver = _solver(HEAD.replace("16, 16]", f"{size}, {size}]") + BODY)
    solver.step(1)
    assert _are_gone(solver.net) == are_gone


@pytest.mark.parametrize(
    ("more", "given"),
    [
        ('layer { name: "f" type: "Flatten" bottom: "squash" top: "f" loss_weight: 0.1 }', ""),
        ('layer { name: "f" type: "Flatten" bottom: "squash" top: "f" }', "f"),
        (
            'layer { name: "s" type: "Silence" bottom: "squash" }'
            'layer { name: "r" type: "Reduction" bottom: "squash" top: "r" loss_weight: 1 }',
            "squash_squash_0_split_0",
        ),
    ],
    ids=["a loss that shares", "a gradient given that is shared", "read by who gives none"],
)
def test_gradients_that_no_layer_has_written_are_kept(more: str, given: str) -> None:
    found = []
    for is_kept in (True, False):
        solver = _solver("force_backward: true\n" + HEAD + CONV + more)
        blobs = solver.net.blobs
        if given:
            blobs[given].diff[...] = np.linspace(-1, 1, blobs[given].count).reshape(
                blobs[given].shape
            )
        held = [blob.diff for blob in blobs.values()] if is_kept else []
        solver.step(1)
        assert is_kept or blobs["conv"].diff_memory.is_deferred
        found.append([blobs[name].diff.copy() for name in ("conv", "squash")])
        del held
    for kept, gone in zip(*found, strict=True):
        assert np.abs(kept).sum() > 0
        np.testing.assert_array_equal(gone, kept)


@pytest.mark.cpu
def test_another_thread_looks_while_the_step_goes_on() -> None:
    solver, seen = _solver(), []
    threads: list[threading.Thread] = []

    def look() -> None:
        seen.append(solver.net.blobs["conv"].diff.copy())

    def begin() -> None:
        threads.append(threading.Thread(target=look))
        threads[-1].start()

    solver.add_callback(lambda: None, begin)
    solver.step(1)
    threads[0].join()
    np.testing.assert_array_equal(seen[0], _kept_after(1)["conv"])
