"""Ways of a GPU to compute a convolution: tried once, and left where they are wrong or slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import caffe
from caffe.engine.plan import ways
from caffe.engine.plan.ways import Ways
from caffe.memory.stores import trying
from tests.helpers.plans import plan_of
from tests.helpers.second_store import CountingStore, use_store

Way = Callable[[torch.Tensor], torch.Tensor]
X = torch.linspace(-1, 1, 24).view(2, 3, 2, 2)


def slowly(way: Way) -> Way:
    def run(x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        return way(x)

    return run


def refused(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")


@pytest.fixture
def at_leisure() -> Iterator[None]:
    """What is computed will run often."""
    with trying():
        yield


def test_nothing_is_tried_for_what_may_run_once() -> None:
    tried = Ways(CountingStore(), 1e-3)
    others = {"one": refused}
    assert torch.equal(tried.run(X, torch.relu, others), X.relu())
    assert not tried.said
    with trying():
        assert torch.equal(tried.run(X, torch.relu, others), X.relu())
    assert "CUDNN_STATUS_NOT_SUPPORTED" in tried.said


@pytest.mark.usefixtures("at_leisure")
@pytest.mark.parametrize(
    ("apart", "at_once", "is_chosen", "said"),
    [
        (slowly(torch.relu), torch.relu, True, "as one call of cuDNN: "),
        (torch.relu, slowly(torch.relu), False, "not as one call of cuDNN: "),
        (slowly(torch.relu), lambda x: torch.relu(x) * 1.1, False, "gives other values"),
        (slowly(torch.relu), lambda x: x.nan_to_num().relu(), False, "makes numbers of NaN"),
        (torch.relu, refused, False, "CUDNN_STATUS_NOT_SUPPORTED"),
    ],
)
def test_it_is_used_where_it_is_right_and_quicker(
    apart: Way, at_once: Way, is_chosen: bool, said: str
) -> None:
    ran = []

    def noted(name: str, way: Way) -> Way:
        return lambda x: (ran.append(name), way(x))[1]

    tried = Ways(CountingStore(), 1e-3)
    for _ in range(2):
        others = {"as one call of cuDNN": noted("at once", at_once)}
        found = tried.run(X, noted("apart", apart), others)
        assert torch.equal(found, X.relu())
        trial, ran[:] = ran[:], []
    # The first run tries, the second one knows.
    assert trial == ["at once" if is_chosen else "apart"]
    assert said in tried.said


@pytest.mark.usefixtures("at_leisure")
def test_of_several_the_quickest_is_taken_and_those_of_its_kind_know_it() -> None:
    others = {"one": slowly(torch.relu), "two": torch.relu, "three": refused}
    first = Ways(CountingStore(), 1e-3, "a kind")
    assert torch.equal(first.run(X, slowly(slowly(torch.relu)), others), X.relu())
    assert first.said.startswith("two: ")
    again = Ways(CountingStore(), 1e-3, "a kind")

    def not_tried(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("it was tried")

    unasked = {"one": not_tried, "two": torch.relu, "three": not_tried}
    assert torch.equal(again.run(X, not_tried, unasked), X.relu())
    assert again.said == first.said
    # Of others than these nothing is known.
    with pytest.raises(AssertionError, match="it was tried"):
        Ways(CountingStore(), 1e-3, "a kind").run(X, not_tried, {"two": torch.relu})


@pytest.mark.usefixtures("at_leisure")
def test_an_input_that_is_not_finite_spoils_no_other_nets_ways() -> None:
    odd, kind = X.clone(), "looked at with NaN"
    odd[0, 0, 0, 0] = torch.nan
    others = {"one": torch.relu}
    tried = Ways(CountingStore(), 1e-3, kind)
    assert torch.equal(tried.run(odd, torch.relu, others).isnan(), odd.isnan())
    assert "not finite" in tried.said
    later = Ways(CountingStore(), 1e-3, kind)
    later.run(X, slowly(torch.relu), others)
    assert later.said.startswith("one: ")


@pytest.mark.usefixtures("at_leisure")
def test_what_is_surely_quicker_is_compared_and_not_timed() -> None:
    runs = []

    def noted(x: torch.Tensor) -> torch.Tensor:
        runs.append(x)
        return torch.relu(x)

    tried = Ways(CountingStore(), 1e-3)
    others = {"surely": noted, "else": slowly(torch.relu)}
    assert torch.equal(tried.run(X, torch.relu, others, {"surely"}), X.relu())
    assert tried.said == "surely"
    # Its values, those of NaN, and the run itself.
    assert len(runs) == 3
    wrong = Ways(CountingStore(), 1e-3)
    others = {"surely": lambda x: 2 * x, "else": torch.relu}
    assert torch.equal(wrong.run(X, slowly(torch.relu), others, {"surely"}), X.relu())
    assert wrong.said.startswith("else: ")


@pytest.mark.usefixtures("at_leisure")
def test_what_was_found_is_remembered_by_later_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAFFE_REMEMBER", "1")
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path))
    monkeypatch.setattr(ways, "_found", {})
    kind, others = "something else", {"one": torch.relu}
    first = Ways(CountingStore(), 1e-3, kind)
    first.run(X, slowly(torch.relu), others)
    assert first.said.startswith("one: ")
    # As in another process.
    monkeypatch.setattr(ways, "_found", {})
    again = Ways(CountingStore(), 1e-3, kind)

    def not_tried(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("it was tried")

    assert torch.equal(again.run(X, not_tried, others), X.relu())
    assert again.said == first.said


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 4, 40, 32] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2
                            weight_filler { type: "msra" } bias_filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "side" type: "Convolution" bottom: "conv" top: "side"
        convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "sum" type: "Eltwise" bottom: "side" bottom: "conv" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "last" type: "Convolution" bottom: "sum" top: "last"
        convolution_param { num_output: 3 kernel_size: 2 stride: 2 dilation: 1
                            weight_filler { type: "msra" } } }
"""
PICTURES = np.random.default_rng(0).normal(size=(2, 2, 4, 40, 32)).astype(np.float32)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """cuDNN's two calls, computed by PyTorch's others, and a second store in the GPU's place."""
    made: list[str] = []

    def relu(x, weight, bias, stride, pad, dilation, group):  # type: ignore[no-untyped-def]
        made.append("relu")
        return F.conv2d(x, weight, bias, stride, pad, dilation, group).relu_()

    def add_relu(x, weight, z, alpha, bias, *geometry):  # type: ignore[no-untyped-def]
        made.append("add and relu")
        return F.conv2d(x, weight, bias, *geometry).add_(z, alpha=alpha).relu_()

    monkeypatch.setattr(torch, "cudnn_convolution_relu", relu, raising=False)
    monkeypatch.setattr(torch, "cudnn_convolution_add_relu", add_relu, raising=False)
    monkeypatch.setattr(ways, "has_ways", lambda store: True)
    monkeypatch.setattr(ways, "WORTH", float("inf"))
    use_store(CountingStore())
    yield made
    caffe.set_mode_cpu()


def test_a_net_gives_the_layers_blobs_by_it(calls: list[str]) -> None:
    caffe.set_random_seed(2)
    net = caffe.Net(NET, caffe.TEST)
    caffe.set_engine("layerwise")
    expected = []
    for pictures in PICTURES:
        net.forward(data=pictures)
        expected.append({name: blob.data.copy() for name, blob in net.blobs.items()})
    assert calls == []
    caffe.set_engine("auto")
    for run in range(8):
        net.forward(data=PICTURES[run % 2])
        for name in ("conv", "sum", "last") if run > 5 else ("last",):
            wanted = expected[run % 2][name]
            np.testing.assert_allclose(net.blobs[name].data, wanted, atol=1e-5)
        # Not before it is known that the net runs often.
        assert run > 5 or (calls.count("relu") == calls.count("add and relu") > 0) == (run >= 4)
    said = dict(zip(net._layer_names, net.explain(), strict=True))
    assert "as one call of cuDNN: " in said["conv"]
    assert "as one call of cuDNN: " in said["side"]
    assert "cuDNN" not in said["last"]
    assert len(plan_of(net)._operations) == 3


def test_a_training_does_not_try(calls: list[str]) -> None:
    net = caffe.Net(NET, caffe.TRAIN)
    net.forward(data=PICTURES[0])
    assert calls == []


def test_few_channels_are_widened_where_cudnn_is_quicker_by_that(calls: list[str]) -> None:
    text = NET.replace("dim: [2, 4,", "dim: [2, 2,")
    wide = []

    def relu(x, weight, bias, *geometry):  # type: ignore[no-untyped-def]
        wide.append(x.shape[1])
        # As if it knew multiples of eight alone.
        time.sleep(0 if x.shape[1] % 8 == 0 else 0.01)
        return F.conv2d(x, weight, bias, *geometry).relu_()

    torch.cudnn_convolution_relu = relu
    pictures = PICTURES[0][:, :2]
    text = text.replace("kernel_size: 3 pad: 1 group: 2", "kernel_size: 3 pad: 1")
    caffe.set_random_seed(2)
    net = caffe.Net(text, caffe.TEST)
    caffe.set_engine("layerwise")
    net.forward(data=pictures)
    expected = net.blobs["conv"].data.copy()
    caffe.set_engine("auto")
    for _ in range(6):
        net.forward(data=pictures)
    assert set(wide) == {2, 4, 8}
    assert wide[-1] == 8
    np.testing.assert_allclose(net.blobs["conv"].data, expected, atol=1e-5)
    said = dict(zip(net._layer_names, net.explain(), strict=True))
    assert "with 8 channels, as one call of cuDNN: " in said["conv"]
