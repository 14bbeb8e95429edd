"""What only a real GPU can show: plans, recordings and short numbers on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe import mode
from caffe.engine.whole_step import PATIENCE
from caffe.memory.stores import DeviceStore
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.files import parse_net
from tests.engine.test_plan import NET, PICTURES, UNKEPT, assert_close
from tests.engine.test_whole_step import NET as TRAINED
from tests.helpers.second_store import use_store

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")


@pytest.fixture
def expected() -> dict[str, np.ndarray]:
    """Every blob, computed on the CPU layer by layer."""
    caffe.set_random_seed(5)
    caffe.set_engine("layerwise")
    net = caffe.Net(NET, caffe.TEST)
    net.forward(data=PICTURES[0])
    caffe.set_engine("auto")
    return {name: blob.data.copy() for name, blob in net.blobs.items()}


@pytest.fixture
def net() -> Iterator[caffe.Net]:
    caffe.set_random_seed(5)
    caffe.set_device(0)
    caffe.set_mode_gpu()
    yield caffe.Net(NET, caffe.TEST)
    caffe.set_mode_cpu()
    caffe.set_precision("float32")


def test_every_forward_is_the_cpus(net: caffe.Net, expected: dict[str, np.ndarray]) -> None:
    for _ in range(6):
        net.forward(data=PICTURES[1])
        assert_close(net.forward(data=PICTURES[0])["prob"], expected["prob"], 1e-4)
    for name in UNKEPT:
        assert_close(net.blobs[name].data, expected[name], 1e-4)


def test_a_recording_is_dropped_when_a_parameter_changes(net: caffe.Net) -> None:
    for _ in range(5):
        before = net.forward(data=PICTURES[0])["fc" if "fc" in net.outputs else "prob"].copy()
    net.params["fc"][0].data[...] = 0
    after = net.forward(data=PICTURES[0])["prob"]
    assert not np.array_equal(before, after)
    assert np.allclose(after, 0.1)


@pytest.mark.parametrize(("precision", "tolerance"), [("tf32", 0.01), ("float16", 0.02),
                                                      ("bfloat16", 0.05)])  # fmt: skip
def test_short_numbers_come_near(
    net: caffe.Net, expected: dict[str, np.ndarray], precision: str, tolerance: float
) -> None:
    caffe.set_precision(precision)
    for _ in range(5):
        found = net.forward(data=PICTURES[0])["prob"]
    assert found.dtype == np.float32
    assert_close(found, expected["prob"], tolerance)


def test_one_upload_per_forward(net: caffe.Net, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        net.forward(data=PICTURES[0])
    uploads = []
    upload = type(mode.current_store()).upload

    def counted(store: object, array: torch.Tensor) -> torch.Tensor:
        uploads.append(array.numel())
        return upload(store, array)

    monkeypatch.setattr(type(mode.current_store()), "upload", counted)
    net.forward(data=PICTURES[1])
    assert uploads == [PICTURES[1].size]


def test_a_recording_that_fails_leaves_the_stream_as_it_was(net: caffe.Net) -> None:
    store = mode.current_store()
    assert store is not None
    ones = torch.ones(2, device=store.device)
    before = torch.cuda.current_stream()
    with pytest.raises(RuntimeError):
        store.record(lambda: [ones * float(ones.sum())], tries=False)
    assert torch.cuda.current_stream() == before
    assert store.download(ones + 1).tolist() == [2, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")
def test_a_forked_process_says_that_it_has_no_gpu_and_runs_on_the_cpu(
    net: caffe.Net, expected: dict[str, np.ndarray]
) -> None:
    net.forward(data=PICTURES[0])
    child = os.fork()
    if not child:
        try:
            with pytest.raises(caffe.DeviceError, match="forked"):
                net.forward(data=PICTURES[0])
            caffe.set_mode_cpu()
            own = caffe.Net(NET, caffe.TEST)
            os._exit(own.forward(data=PICTURES[0])["prob"].shape != expected["prob"].shape)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert_close(net.forward(data=PICTURES[0])["prob"], expected["prob"], 1e-4)


def test_callbacks_see_what_the_gpu_has_computed(
    net: caffe.Net, expected: dict[str, np.ndarray]
) -> None:
    seen = {}

    def look(layer: int) -> None:
        for name in net.top_names[net._layer_names[layer]]:
            seen[name] = net.blobs[name].data.copy()

    net.after_forward(look)
    net.forward(data=PICTURES[0])
    for name, values in expected.items():
        assert_close(seen[name], values, 1e-4)


class _Cramped(DeviceStore):
    """The GPU without room for recordings of training."""

    def has_room(self, count: int) -> bool:
        return False


def _trained(store: DeviceStore, kind: type[caffe.Solver]) -> tuple[list[float], dict[str, Any]]:
    """What some steps on other numbers each come to: losses, parameters, diffs."""
    use_store(store)
    param = SolverParameter(net_param=parse_net(TRAINED), base_lr=0.01, lr_policy="fixed")
    param.random_seed, param.momentum, param.weight_decay = 3, 0.9, 0.01
    solver = kind(param)
    net, losses, rng = solver.net, [], np.random.default_rng(1)
    for _ in range(2 * PATIENCE + 2):
        net.blobs["data"].data[...] = rng.standard_normal(net.blobs["data"].shape)
        net.blobs["label"].data[...] = rng.integers(0, 3, net.blobs["label"].shape)
        solver.step(1)
        losses.append(solver.loss)
    arrays = {name: blob.diff.copy() for name, blob in net.blobs.items()}
    for name, blobs in net.params.items():
        arrays |= {f"{name} {i}": blob.data.copy() for i, blob in enumerate(blobs)}
    return losses, arrays


@pytest.mark.parametrize("kind", [caffe.SGDSolver, caffe.AdamSolver])
@pytest.mark.filterwarnings("error::caffe.CaffeWarning")
def test_a_recorded_training_is_the_one_by_hand(
    kind: type[caffe.Solver], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = torch.device("cuda", 0)
    replays = []
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replays.append(graph)
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    try:
        losses, arrays = _trained(DeviceStore(device), kind)
        assert len(replays) > PATIENCE
        replays.clear()
        expected_losses, expected = _trained(_Cramped(device), kind)
        assert not replays
    finally:
        caffe.set_mode_cpu()
    assert losses == pytest.approx(expected_losses, rel=1e-3)
    for name, values in expected.items():
        assert_close(arrays[name], values, 1e-2)
