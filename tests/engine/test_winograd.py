"""Convolutions by Winograd's algorithm are convolutions, and are chosen by their time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import caffe
from caffe.engine.plan import winograd
from caffe.engine.plan.winograd import POINTS, Trial, Winograd, matrices, saves
from caffe.layers.layer import Activation

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
RUNS = winograd.PATIENCE + winograd.TRIALS + 1
"""How many runs it takes until it is known which way is the quicker one."""


@pytest.mark.parametrize("r", [2, 3, 5])
def test_the_matrices_make_a_convolution_exactly(r: int) -> None:
    for m in range(1, len(POINTS) + 3 - r):
        a, g, b = (np.array(rows) for rows in matrices(m, r))
        weights, inputs = np.arange(1.0, r + 1), np.arange(2.0, m + r + 1) ** 2
        expected = np.correlate(inputs, weights, "valid")
        np.testing.assert_allclose(a @ ((g @ weights) * (b @ inputs)), expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "pad", "group", "pictures"),
    [(16, 32, 3, (1, 1), 1, 1), (24, 16, 3, (0, 2), 2, 5), (16, 16, 5, (2, 2), 1, 3),
     (32, 48, 5, (1, 0), 2, 2)],
)  # fmt: skip
@pytest.mark.parametrize("piece", [winograd.PIECE, 2**16, 1])
def test_pieces_of_tiles_make_the_convolution(
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    outputs: int,
    size: int,
    pad: tuple[int, int],
    group: int,
    pictures: int,
    piece: int,
) -> None:
    monkeypatch.setattr(winograd, "PIECE", piece)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(pictures, channels, 13, 22, generator=generator)
    weight = torch.randn(outputs, channels // group, size, size, generator=generator).double()
    bias = torch.randn(outputs, generator=generator).double()
    expected = F.conv2d(x.double(), weight, bias, 1, pad, 1, group).clamp(0, 6)
    activation = Activation(slope=0.0, least=0.0, most=6.0)
    found = Winograd(weight, bias, tuple(x.shape), pad, group, activation)(
        x.contiguous(memory_format=torch.channels_last)
    )
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 2e-5 * float(
        F.conv2d(x.double(), weight, bias, 1, pad, 1, group).abs().max()
    )


@pytest.mark.parametrize(
    ("kernel", "weight", "outputs", "group", "expected"),
    [
        ((3, 3), (64, 32, 3, 3), (13, 13), 1, True),
        ((5, 5), (256, 48, 5, 5), (27, 27), 2, True),
        ((1, 1), (64, 64, 1, 1), (13, 13), 1, False),
        ((7, 7), (64, 64, 7, 7), (28, 28), 1, False),
        ((3, 1), (64, 64, 3, 1), (28, 28), 1, False),
        ((3, 3), (64, 1, 3, 3), (28, 28), 64, False),
        ((3, 3), (64, 64, 3, 3), (1, 1), 1, False),
        ((3, 3), (64, 64, 3, 3), (2, 2), 1, False),
    ],
)
def test_it_is_tried_where_it_spares_products(
    kernel: tuple[int, int],
    weight: tuple[int, ...],
    outputs: tuple[int, int],
    group: int,
    expected: bool,
) -> None:
    assert saves(kernel, weight, outputs, group) is expected


def _made(factor: float = 1.0) -> tuple[Winograd, torch.Tensor, torch.Tensor]:
    weight, bias = torch.ones(16, 16, 3, 3).double() * factor, torch.zeros(16).double()
    x = torch.ones(1, 16, 8, 8)
    expected = F.conv2d(x, torch.ones(16, 16, 3, 3))
    return Winograd(weight, bias, (1, 16, 8, 8), (0, 0), 1, Activation()), x, expected


@pytest.mark.parametrize("is_direct_slow", [True, False])
def test_the_quicker_way_is_kept_and_the_first_runs_are_direct(
    monkeypatch: pytest.MonkeyPatch, is_direct_slow: bool
) -> None:
    made, x, expected = _made()
    calls: list[str] = []
    # A clock that only these two turn on: a busy machine's decides by chance.
    costs = {"direct": 2.0 if is_direct_slow else 1.0, "tiles": 1.0}
    monkeypatch.setattr(winograd.time, "perf_counter", lambda: sum(costs[call] for call in calls))

    def direct(x: torch.Tensor) -> torch.Tensor:
        calls.append("direct")
        return expected

    def by_tiles(x: torch.Tensor) -> torch.Tensor:
        calls.append("tiles")
        return made(x)

    trial = Trial(lambda: by_tiles)  # type: ignore[arg-type,return-value]
    for run in range(RUNS):
        assert not trial.is_over
        assert trial.run(x, direct) is expected
        assert calls.count("direct") == run + 1
        assert calls.count("tiles") == max(0, run + 1 - winograd.PATIENCE)
    assert trial.is_over
    assert trial.chosen is is_direct_slow
    times = "1e+03 ms instead of 2e+03" if is_direct_slow else "1e+03 ms instead of 1e+03"
    assert trial.said.endswith(times)
    assert trial.said.startswith("by") is is_direct_slow
    assert torch.allclose(trial.run(x, direct), expected, rtol=1e-4)
    assert calls[-1] == ("tiles" if is_direct_slow else "direct")


def test_what_rounds_off_too_much_is_given_up() -> None:
    made, x, expected = _made(1.001)
    trial = Trial(lambda: made)
    for _ in range(RUNS):
        trial.run(x, lambda _: expected)
    assert trial.is_over
    assert not trial.chosen
    assert "rounds off too much" in trial.said


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Winograd's algorithm wherever it can be, however long it takes."""
    monkeypatch.setattr(winograd, "LEAST_WORK", 1)
    monkeypatch.setattr(winograd, "WORTH", float("inf"))
    caffe.set_engine("torch")
    yield
    caffe.set_engine("auto")


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
