"""Convolutions run by Winograd's algorithm where it takes less time, and give the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import caffe
from caffe.engine.plan import trial
from caffe.engine.plan.trial import Trial
from caffe.layers.winograd import Winograd

NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 16 dim: 13 dim: 11 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 32 kernel_size: 3 pad: 1
                            weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 } }
"""
PICTURES = np.random.default_rng(4).normal(size=(2, 2, 16, 13, 11)).astype(np.float32)
RUNS = trial.PATIENCE + trial.TRIALS + 1
"""How many runs it takes until it is known which way is the quicker one."""


def _made(factor: float = 1.0) -> tuple[Winograd, torch.Tensor, torch.Tensor]:
    weight, bias = torch.ones(16, 16, 3, 3).double() * factor, torch.zeros(16).double()
    x = torch.ones(1, 16, 8, 8)
    expected = F.conv2d(x, torch.ones(16, 16, 3, 3))
    return Winograd(weight, bias, (1, 16, 8, 8), (0, 0), 1), x, expected


@pytest.mark.parametrize("is_direct_slow", [True, False])
def test_the_quicker_way_is_kept_and_the_first_runs_are_direct(
    monkeypatch: pytest.MonkeyPatch, is_direct_slow: bool
) -> None:
    made, x, expected = _made()
    calls: list[str] = []
    # A clock that only these two turn on: a busy machine's decides by chance.
    costs = {"direct": 2.0 if is_direct_slow else 1.0, "tiles": 1.0}
    monkeypatch.setattr(trial.time, "perf_counter", lambda: sum(costs[call] for call in calls))

    def direct(x: torch.Tensor) -> torch.Tensor:
        calls.append("direct")
        return expected

    def by_tiles(x: torch.Tensor) -> torch.Tensor:
        calls.append("tiles")
        return made(x)

    tried = Trial(lambda: by_tiles)  # type: ignore[arg-type,return-value]
    for run in range(RUNS):
        assert not tried.is_over
        assert tried.run(x, direct) is expected
        assert calls.count("direct") == run + 1
        assert calls.count("tiles") == max(0, run + 1 - trial.PATIENCE)
    assert tried.is_over
    assert tried.chosen is is_direct_slow
    times = "1e+03 ms instead of 2e+03" if is_direct_slow else "1e+03 ms instead of 1e+03"
    assert tried.said.endswith(times)
    assert tried.said.startswith("by") is is_direct_slow
    assert torch.allclose(tried.run(x, direct), expected, rtol=1e-4)
    assert calls[-1] == ("tiles" if is_direct_slow else "direct")


def test_what_rounds_off_too_much_is_given_up() -> None:
    made, x, expected = _made(1.001)
    tried = Trial(lambda: made)
    for _ in range(RUNS):
        tried.run(x, lambda _: expected)
    assert tried.is_over
    assert not tried.chosen
    assert "rounds off too much" in tried.said


def _net(phase: int = caffe.TEST) -> caffe.Net:
    caffe.set_random_seed(2)
    net = caffe.Net(NET, phase)
    net.params["bn"][1].data[...], net.params["bn"][2].data[...] = 2, 1
    return net


def _layer_by_layer(net: caffe.Net, pictures: np.ndarray) -> np.ndarray:
    caffe.set_engine("layerwise")
    found: np.ndarray = net.forward(data=pictures)["pool"].copy()
    caffe.set_engine("torch")
    return found


def _assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.nanmax(abs(expected)))


@pytest.mark.usefixtures("always")
def test_a_net_gives_the_same_blobs_and_follows_its_weights() -> None:
    net, other = _net(), _net()
    expected = [_layer_by_layer(other, pictures) for pictures in PICTURES]
    for run in range(RUNS + 3):
        _assert_close(net.forward(data=PICTURES[run % 2])["pool"], expected[run % 2])
    assert "by Winograd's algorithm: " in net.explain()[1]
    net.forward(data=PICTURES[1])
    _assert_close(net.blobs["conv"].data, other.blobs["conv"].data)
    weights, theirs = net.params["conv"][0].data, other.params["conv"][0].data
    for factor in (2, -1):
        # Somebody holds the weights and writes into them.
        weights *= factor
        theirs *= factor
        _assert_close(net.forward(data=PICTURES[1])["pool"], _layer_by_layer(other, PICTURES[1]))
    del weights
    for _ in range(2):
        _assert_close(net.forward(data=PICTURES[0])["pool"], _layer_by_layer(other, PICTURES[0]))


@pytest.mark.usefixtures("always")
def test_what_others_are_compared_with_goes_the_direct_way() -> None:
    net = _net()
    runs = [net.forward(data=PICTURES[0])["pool"].copy() for _ in range(RUNS + 1)]
    (plan,) = net._runner.plans
    conv = plan._operations[0]
    assert "by Winograd's algorithm" in conv.found_out
    assert not np.array_equal(runs[-1], runs[0])
    conv.is_exact = True
    np.testing.assert_array_equal(net.forward(data=PICTURES[0])["pool"], runs[0])


@pytest.mark.usefixtures("always")
def test_what_is_no_number_stays_where_the_layer_has_it() -> None:
    net, other = _net(), _net()
    for _ in range(RUNS + 1):
        net.forward(data=PICTURES[0])
    odd = PICTURES[0].copy()
    odd[0, 3, 5, 5] = np.nan
    found = net.forward(data=odd)["pool"]
    expected = _layer_by_layer(other, odd)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert 0 < np.isnan(found).sum() < found.size
    _assert_close(found, expected)


@pytest.mark.usefixtures("always")
def test_nothing_is_chosen_by_its_time_in_training() -> None:
    net = _net(caffe.TRAIN)
    for _ in range(RUNS + 1):
        net.forward(data=PICTURES[0])
    assert not any("Winograd" in said for said in net.explain())
