"""Whoever looks at a blob between or beside two forwards finds in it what the last one made."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import caffe
from caffe.engine.plan.looks import Looks
from caffe.engine.plan.survey import Kept
from caffe.layers.layer import Layer, register
from caffe.memory.blob import Shape
from caffe.memory.synced import SyncedMemory
from tests.helpers.plans import plan_of

NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 48 dim: 48 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "flat" type: "Flatten" bottom: "conv1" top: "flat" }
layer { name: "again" type: "Reshape" bottom: "flat" top: "again"
        reshape_param { shape { dim: [0, 8, 46, 46] } } }
layer { name: "pool" type: "Pooling" bottom: "again" top: "pool"
        pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "small" type: "Convolution" bottom: "pool" top: "small"
        convolution_param { num_output: 2 kernel_size: 5 stride: 3
                            weight_filler { type: "msra" } } }
layer { name: "fc" type: "InnerProduct" bottom: "small" top: "fc"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
PICTURES = np.random.default_rng(0).normal(size=(2, 2, 3, 48, 48)).astype(np.float32)


@register("RefusesLarge")
class RefusesLarge(Layer):
    """Fails in the midst of a run, behind what a library has run."""

    is_pure = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return list(bottoms)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.abs().max() > 1e4:
            raise ValueError("too large")
        return x + 1


@pytest.fixture(autouse=True, params=["torch", "openvino"])
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    caffe.set_engine(request.param)
    yield
    caffe.set_engine("auto")


@pytest.fixture
def net() -> caffe.Net:
    """A net that has run some times, and nobody has looked."""
    net = caffe.Net(NET, caffe.TEST)
    for i in (0, 1, 0):
        net.forward(data=PICTURES[i])
    return net


def assert_shows(net: caffe.Net, pictures: np.ndarray) -> None:
    """Check every blob, those that are looked at last first, against another net's."""
    other = caffe.Net(NET, caffe.TEST)
    other.share_with(net)
    before = caffe.mode.engine()
    caffe.set_engine("layerwise")
    other.forward(data=pictures)
    caffe.set_engine(before)
    for name in reversed(other.blobs):
        wanted = other.blobs[name].data
        np.testing.assert_allclose(net.blobs[name].data, wanted, rtol=1e-4, atol=1e-5)


def _look(net: caffe.Net) -> None:
    net.blobs["pool"].data.sum()


def _look_by_another_name(net: caffe.Net) -> None:
    net.blobs["flat"].data.sum()


def _write(net: caffe.Net) -> None:
    net.blobs["conv1"].data[...] = 7


def _hold_and_let_go(net: caffe.Net) -> None:
    held = net.blobs["pool"].data
    net.forward(data=PICTURES[0])
    assert np.shares_memory(held, net.blobs["pool"].data)


def _run_layer_by_layer(net: caffe.Net) -> None:
    before = caffe.mode.engine()
    caffe.set_engine("layerwise")
    net.forward(data=PICTURES[0])
    caffe.set_engine(before)


def _run_a_part(net: caffe.Net) -> None:
    net.forward(start="pool", end="small")


def _change_a_parameter(net: caffe.Net) -> None:
    net.params["conv1"][0].data[...] *= 2


def _clear(net: caffe.Net) -> None:
    net.blobs["conv1"].memory.clear()


def _give_no_numbers(net: caffe.Net) -> None:
    net.forward(data=np.full_like(PICTURES[0], np.nan))


@pytest.mark.parametrize(
    "disturb",
    [
        _look,
        _look_by_another_name,
        _write,
        _hold_and_let_go,
        _run_layer_by_layer,
        _run_a_part,
        _change_a_parameter,
        _clear,
        _give_no_numbers,
    ],
)
def test_what_happens_after_a_forward_is_past_after_the_next(
    disturb: Callable[[caffe.Net], None], net: caffe.Net
) -> None:
    disturb(net)
    for pictures in (PICTURES[0], PICTURES[1]):
        net.forward(data=pictures)
    assert net.blobs["conv1"].memory.is_deferred
    assert net.blobs["pool"].memory.is_deferred
    assert_shows(net, PICTURES[1])


def test_each_forward_after_a_look_is_shown(net: caffe.Net) -> None:
    for pictures in (PICTURES[1], PICTURES[0], PICTURES[1]):
        net.forward(data=pictures)
        assert_shows(net, pictures)


@pytest.mark.cpu
def test_an_array_that_is_held_shows_every_forward_until_it_is_let_go(net: caffe.Net) -> None:
    held = net.blobs["pool"].data
    for pictures in (PICTURES[1], PICTURES[0]):
        net.forward(data=pictures)
        other = caffe.Net(NET, caffe.TEST)
        other.share_with(net)
        np.testing.assert_allclose(
            held, other.forward(["pool"], data=pictures)["pool"], rtol=1e-4, atol=1e-5
        )
    del held
    net.forward(data=PICTURES[1])
    assert net.blobs["pool"].memory.is_deferred
    assert_shows(net, PICTURES[1])


def test_a_thread_that_has_begun_to_look_leaves_the_next_forward_alone(net: caffe.Net) -> None:
    begun = threading.Event()

    def look() -> None:
        begun.set()
        net.blobs["pool"].data.sum()

    thread = threading.Thread(target=look)
    with plan_of(net)._lock:
        thread.start()
        begun.wait()
        net.forward(data=PICTURES[1])
    thread.join()
    net.forward(data=PICTURES[0])
    assert_shows(net, PICTURES[0])


def test_a_forward_that_fails_leaves_the_next_one_alone() -> None:
    behind = """
    layer { name: "own" type: "RefusesLarge" bottom: "again" top: "own" }
    layer { name: "conv2" type: "Convolution" bottom: "own" top: "conv2"
            convolution_param { num_output: 8 kernel_size: 1 } }
    layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
            pooling_param { kernel_size: 5 } }"""
    net = caffe.Net(NET + behind, caffe.TEST)
    for i in (0, 1, 0):
        net.forward(data=PICTURES[i])
    net.blobs["pool"].data.sum()
    with pytest.raises(caffe.CaffeError, match="too large"):
        net.forward(data=PICTURES[0] * 1e6)
    with pytest.raises(caffe.CaffeError, match="run the net again"):
        net.blobs["conv1"].data  # noqa: B018
    # This writes as many blobs as there are behind what has failed.
    net.forward(end="pool")
    net.forward(data=PICTURES[1])
    assert_shows(net, PICTURES[1])


class Run:
    """One memory of a plan that runs again while somebody is looking at it."""

    def __init__(self) -> None:
        self.memory = SyncedMemory(1)
        self.looks = Looks({7: Kept(weakref.ref(self.memory), (1,), 0)}, self.compute)
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        if not self.looks.start_run() or self.runs == 1:
            self.looks.defer(7, self.memory)

    def compute(self, key: int) -> torch.Tensor:
        self.looks.note(key)
        values = torch.full((1,), float(self.runs))
        if self.runs == 1:
            self.run()
        return values


def test_a_memory_that_gets_its_values_after_the_next_run_is_left_again_by_that_after_it() -> None:
    run = Run()
    run.run()
    run.memory.cpu()
    assert run.runs == 2
    assert not run.memory.is_deferred
    run.run()
    assert run.memory.cpu().tolist() == [3]


def test_what_nobody_touches_is_not_gone_through_again() -> None:
    memories = [SyncedMemory(1), SyncedMemory(1)]
    written = {i: Kept(weakref.ref(memory), (1,), 0) for i, memory in enumerate(memories)}
    run = Run()
    looks = Looks(written, run.compute)
    for i, memory in enumerate(memories):
        looks.defer(i, memory)
    assert looks.start_run()
    memories[0].clear()
    assert not looks.start_run()
    looks.defer(1, memories[1])
    assert looks.start_run()
