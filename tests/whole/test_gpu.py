"""What only a real GPU can show: plans, recordings and short numbers on it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import caffe
from caffe import mode
from tests.engine.test_plan import NET, PICTURES, UNKEPT, assert_close

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
